"""Faults injected into a lake while no stream runs."""

import time
from pathlib import Path

from lakehouse.sql.query import query
from lakehouse.tables import maintenance
from lakehouse.tables.lake import writer_lock
from stewardship.erase import erase_complaint
from stewardship.quarantine import waiting
from stewardship.replay import replay
from streaming.batch.backlog import score_backlog
from streaming.batch.load import load_files, load_full_export
from streaming.service.upkeep import run_upkeep
from streaming.status import QUERIES
from streaming.tables import TABLES
from tests.stream_fixtures import wait_until
from tests.streaming.service.fault_world import Fault, World, new_file, new_full_export

RULE = """
  - id: drawn_company
    field: company
    severity: quarantine
    expect: NOT startswith(raw.company, 'B')
    meaning: A rule that is added and removed.
"""


def move_checkpoint(world: World) -> None:
    name = world.dice.choice(QUERIES)
    folder = world.settings.folder / "checkpoints" / name
    with writer_lock(world.settings):  # as documented: stop the stream first
        if folder.is_dir():
            folder.rename(world.settings.folder.parent / f"moved-{name}-{time.monotonic_ns()}")


def change_rules(world: World) -> None:
    """Add or remove a rule; rows that wait are checked with the new rule set."""
    rules = world.tree / "conf" / "expectations.yaml"
    text = rules.read_text(encoding="utf-8")
    changed = text.replace(RULE, "") if RULE in text else text.rstrip() + "\n" + RULE
    rules.write_text(changed, encoding="utf-8")


def replay_some(world: World) -> None:
    found = waiting(world.settings, None, 1000).rows
    chosen = world.dice.sample(found, min(len(found), 5))
    replacements = {str(row["record_id"]): world.complaint().decode() for row in chosen}
    replay(world.settings, reason=None, replacements=replacements or None)


def erase_one(world: World) -> None:
    known = query(world.settings, TABLES, "SELECT complaint_id FROM silver.complaints ORDER BY complaint_id").rows
    erase_complaint(world.settings, int(world.dice.choice(known)[0]), lambda _: None)


def maintain(world: World) -> None:
    least, maintenance.LEAST_FILES = maintenance.LEAST_FILES, 2
    try:
        for table in TABLES:
            run_upkeep(world.lake, table)
    finally:
        maintenance.LEAST_FILES = least


def load(world: World) -> None:
    assert not load_files(world.settings, [new_file(world)], lambda *_: None).errors


def kill_load(world: World) -> None:
    """Kill a load once it has started to land rows, then load the file again."""
    path = new_file(world)
    kill_command(world, 1.5, "load", str(path))
    assert not load_files(world.settings, [path], lambda *_: None).errors


def kill_command(world: World, most: float, *words: str) -> None:
    """Kill a load at most some seconds after it has started to stage rows."""
    process = world.command(*words)
    folder = world.settings.folder
    staged = ("staging-*", "*/staging-*")
    wait_until(lambda: process.ended or any(any(folder.glob(each)) for each in staged), "the load")
    world.pause(most)
    process.kill()


def load_export(world: World) -> None:
    load_whole(world, new_full_export(world))


def kill_export(world: World) -> None:
    """Kill the load of a full export while it compares, lands or refines, then load it again."""
    path = new_full_export(world)
    kill_command(world, 25, "load", "--snapshot", str(path))
    load_whole(world, path)


def load_whole(world: World, path: Path) -> None:
    result = load_full_export(world.settings, path, lambda *_: None)
    assert not result.errors, result.errors


def score(world: World) -> None:
    """Score without a broker.

    The new decisions are not published, but a batch whose publication had started is published in full.
    """
    world.unpublished += score_backlog(world.settings, lambda *_: None)


RESTING: dict[str, Fault] = {
    "move-checkpoint": move_checkpoint,
    "change-rules": change_rules,
    "replay": replay_some,
    "erase": erase_one,
    "maintain": maintain,
    "load": load,
    "kill-load": kill_load,
    "full-export": load_export,
    "kill-export": kill_export,
    "score": score,
}

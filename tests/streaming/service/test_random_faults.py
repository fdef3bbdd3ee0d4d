"""Random faults hit a stream for an hour; each time `complaints verify` must find nothing lost."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from streaming.kafka.broker import Broker
from streaming.kafka.topics import ensure_topics
from tests.conftest import Trained, copy_of
from tests.stream_fixtures import with_topics
from tests.streaming.service.fault_world import World
from tests.streaming.service.faults import FAULTS, do, drawn


def chosen(names: str | None) -> set[str]:
    """The faults to draw from.

    Raises:
        pytest.UsageError: one of them is unknown.
    """
    wanted = set((names or ",".join(FAULTS)).split(","))
    if unknown := sorted(wanted - FAULTS.keys()):
        msg = f"There is no fault {unknown[0]}: --faults takes {','.join(FAULTS)}."
        raise pytest.UsageError(msg)
    return wanted


@pytest.fixture
def world(
    trained: Trained,
    spark: SparkSession,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    """A trained lake with two brokers; the seed is printed."""
    seed = pytestconfig.getoption("seed")
    seed = int(time.time()) if seed is None else seed

    def say(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    with ExitStack() as stack:
        brokers = [stack.enter_context(Broker(tmp_path / name)) for name in ("broker", "other-broker")]
        settings = with_topics(copy_of(trained, tmp_path / "lake").settings, brokers[0], "faults")
        ensure_topics(settings.kafka, brokers[0].bootstrap_servers)
        say(f"\n--seed {seed}")
        world = World(settings, spark, brokers, random.Random(seed), say)
        yield world
        for process in world.processes:
            process.kill()


@pytest.mark.faults
@pytest.mark.timeout(0)
def test_random_faults_lose_and_duplicate_nothing(world: World, pytestconfig: pytest.Config) -> None:
    names = chosen(pytestconfig.getoption("faults"))
    start = time.monotonic()
    end = start + 3600 * pytestconfig.getoption("hours")
    world.up()
    world.send()
    world.settle()
    for name in drawn(random.Random(world.dice.random()), names):
        if time.monotonic() > end:
            break
        do(world, name)
    world.up()
    world.settle()
    world.end()
    for name, times in sorted(world.done.items()):
        world.say(f"{name:<16} {times:>4} times, {world.seconds[name] / times:5.1f} s each")
    total = sum(world.done.values())
    world.say(f"{total} faults in {(time.monotonic() - start) / 60:.0f} min, {world.sent:,} sent: 0 lost, 0 twice")

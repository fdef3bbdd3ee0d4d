"""Quarantined rows are found by reason, exported whole, and replayed exactly once after a fix."""

import base64
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from bronze.tables import COMPLAINTS as BRONZE
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings, load_settings
from lakehouse.tables.lake import Lake, writer_lock
from silver.refine import PAYLOAD_SHOWN
from silver.tables import COMPLAINTS, DUPLICATES, NARRATIVES, OUTCOMES, QUARANTINE
from stewardship import replay as module
from stewardship.quarantine import export, read_replacements, waiting
from stewardship.replay import ReplayResult, replay
from streaming.batch.load import load_files


def complaint(number: int, **changed: str) -> dict[str, str]:
    """Return a valid complaint with changed values."""
    usable = {"date_received": "2024-03-01", "product": "Mortgage", "issue": "Trouble", "company": "ACME"}
    return {"complaint_id": str(number), **usable, **changed}


LONG = "They never called back. " * 5_000
RECORDS = (
    complaint(1),
    complaint(2, date_received="tomorrow"),
    complaint(3, date_received="2009-01-01", complaint_what_happened=LONG[:99_000], company_response="x" * 2_000),
    {"complaint_id": "4", "complaint_what_happened": "It came before its complaint."},
)


@pytest.fixture(scope="module")
def refused(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake with one complaint in silver and five rows in quarantine."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "rows.json").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    (folder / "bytes.json").write_bytes(b'{"complaint_id": "5", "product": "Caf\xe9"}\n')
    (folder / "cut.csv").write_text("Complaint ID,Date received,Product,Issue,Company\n6,2024-03-01,Mort")
    settings = load_settings(root=folder / "lake")
    assert spark is not None
    files = [folder / name for name in ("rows.json", "bytes.json", "cut.csv")]
    loaded = load_files(settings, files, lambda *_: None).as_json()
    assert (loaded["rows"], loaded["silver"], loaded["quarantined"]) == (6, 1, 5)
    return settings


@pytest.fixture
def lake(refused: Settings, spark: SparkSession, tmp_path: Path) -> Lake:
    """A copy of that lake, which a test may change."""
    shutil.copytree(refused.folder, tmp_path / "lake")
    return Lake(spark, load_settings(root=tmp_path / "lake"))


def ids(settings: Settings) -> dict[int, str]:
    """Return the record ids of the quarantined rows of rows.json, by line."""
    return {row["line"]: row["record_id"] for row in waiting(settings, None, None).rows if row["file"] == "rows.json"}


def counts(result: ReplayResult) -> tuple[int, int, int, int]:
    return result.replayed, result.silver, result.duplicates, result.still_refused


def replay_fixed(lake: Lake, replacements: Mapping[str, str | None]) -> ReplayResult:
    return replay(lake.settings, reason=None, replacements=replacements)


def replays(lake: Lake) -> list[Any]:
    return lake.read(BRONZE).where("source = 'replay'").collect()


def test_quarantined_rows_are_counted_by_reason_and_have_their_whole_payload(refused: Settings) -> None:
    found = waiting(refused, None, None)
    assert found.total == 5
    expected = ("date_received_unreadable", "date_received_before_2011", "narrative_without_complaint", "not_utf8")
    assert found.reasons.keys() >= set(expected)
    assert {found.reasons[reason] for reason in expected} == {1}
    by_line = {(row["file"], row["line"]): row for row in found.rows}
    assert by_line["bytes.json", 1]["payload"] is None
    whole = by_line["rows.json", 3]["payload"]
    assert len(whole) > PAYLOAD_SHOWN
    assert json.loads(whole) == RECORDS[2]
    times = [row["refined_at"] for row in found.rows]
    assert times == sorted(times, reverse=True)


def test_a_reason_and_a_limit_filter_rows_but_not_counts(refused: Settings) -> None:
    found = waiting(refused, "date_received_before_2011", None)
    assert [row["line"] for row in found.rows] == [3]
    assert (found.total, len(found.reasons)) == (5, len(waiting(refused, None, None).reasons))
    assert len(waiting(refused, None, 2).rows) == 2
    assert waiting(refused, "nul_bytes", None).rows == []  # a rule that no row broke


@pytest.mark.parametrize("reason", ["not_jsn", "' OR 1 = 1 --"])
def test_an_unknown_reason_is_refused_with_a_list_of_the_known_ones(refused: Settings, reason: str) -> None:
    with pytest.raises(ComplaintsError, match=r"Known are empty_payload, not_utf8, .*narrative_without_complaint"):
        waiting(refused, reason, None)


def test_rows_that_were_not_fixed_stay_in_quarantine_for_the_reasons_that_are_listed(lake: Lake) -> None:
    result = replay(lake.settings, reason=None, replacements=None)
    assert counts(result) == (0, 0, 0, 5)
    reasons_of = {row["record_id"]: row["reasons"] for row in result.refused}
    listed = {row["record_id"]: row["reasons"] for row in waiting(lake.settings, None, None).rows}
    assert reasons_of == listed
    assert ["csv_row_broken"] in listed.values()
    assert ["not_utf8"] in listed.values()
    assert reasons_of[ids(lake.settings)[4]] == ["narrative_without_complaint"]
    assert replays(lake) == []
    assert lake.read(QUARANTINE).where("replayed_at IS NOT NULL").count() == 0


def test_fixed_rows_are_replayed_once_together_with_their_narratives(lake: Lake, tmp_path: Path) -> None:
    rows = [dict(row) for row in waiting(lake.settings, None, None).rows if row["file"] == "rows.json"]
    for row in rows:
        if row["line"] == 2:
            row["payload"] = json.loads(row["payload"]) | {"date_received": "2024-03-02"}  # an object, not text
        elif row["line"] == 3:
            row["payload"] = json.dumps(complaint(4))  # the complaint to which the narrative of line 4 belongs
    export(rows, tmp_path / "fixed.jsonl")
    replacements = read_replacements(tmp_path / "fixed.jsonl")
    names = ids(lake.settings)

    assert counts(replay_fixed(lake, replacements)) == (3, 2, 1, 0)
    assert {row.replay_of for row in replays(lake)} == set(names.values())
    assert {row.complaint_id for row in lake.read(COMPLAINTS).collect()} == {1, 2, 4}
    assert [row.narrative for row in lake.read(NARRATIVES).collect()] == ["It came before its complaint."]
    assert [row.kind for row in lake.read(DUPLICATES).collect()] == ["narrative"]
    still = waiting(lake.settings, None, None)
    assert sorted(row["file"] for row in still.rows) == ["bytes.json", "cut.csv"]

    again = replay_fixed(lake, replacements)
    assert (counts(again), again.sent_before) == ((0, 0, 0, 0), 3)
    assert len(replays(lake)) == 3


def test_a_replay_killed_after_sending_is_finished_and_not_repeated(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ids(lake.settings)
    sync = module._Replay.sync
    calls = Counter[str]()

    def killed_the_second_time(replaying: module._Replay) -> None:
        calls["sync"] += 1
        if calls["sync"] == 2:
            raise KeyboardInterrupt
        sync(replaying)

    replacements = {names[2]: json.dumps(complaint(2))}
    monkeypatch.setattr(module._Replay, "sync", killed_the_second_time)
    with pytest.raises(KeyboardInterrupt):
        replay_fixed(lake, replacements)
    assert len(replays(lake)) == 1
    assert lake.read(QUARANTINE).where("replayed_at IS NOT NULL").count() == 0

    result = replay_fixed(lake, replacements)
    assert (counts(result), result.sent_before) == ((0, 0, 0, 0), 1)
    assert len(replays(lake)) == 1
    assert lake.read(COMPLAINTS).where("complaint_id = 2").count() == 1
    (noted,) = lake.read(QUARANTINE).where("replayed_at IS NOT NULL").collect()
    assert noted.record_id == names[2]


def test_a_row_that_is_not_in_quarantine_is_refused_before_anything_is_sent(lake: Lake) -> None:
    with pytest.raises(ComplaintsError, match="The row elsewhere/0/1 is not in quarantine, so nothing was sent"):
        replay_fixed(lake, {ids(lake.settings)[2]: json.dumps(complaint(2)), "elsewhere/0/1": json.dumps(complaint(9))})
    assert replays(lake) == []


def test_while_another_process_writes_a_replay_is_refused(refused: Settings) -> None:
    with writer_lock(refused), pytest.raises(ComplaintsError, match="Another process is writing the lake"):
        replay(refused, reason=None, replacements=None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"record_id": "a", "payload": "x"}\nnonsense\n', r":2 is not JSON \(Expecting value at character 1\)"),
        ('["a"]', ":1 is not a quarantined row"),
        ('{"record_id": 7, "payload": "x"}', ":1 is not a quarantined row"),
        ('{"record_id": "a"}', ":1 is not a quarantined row"),
        ('{"record_id": "a", "payload": 7}', ":1: the payload is a int"),
        ('{"record_id": "a", "payload": "\\ud800"}', ":1: the payload contains an unpaired surrogate"),
        ('{"record_id": "a", "payload": "x"}\n\n{"record_id": "a", "payload": "y"}', ":3 repeats the record_id a"),
    ],
)
def test_an_invalid_line_of_a_file_of_fixed_rows_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "fixed.jsonl").write_text(text)
    with pytest.raises(ComplaintsError, match=r"fixed\.jsonl" + message):
        read_replacements(tmp_path / "fixed.jsonl")


def test_payloads_of_fixed_rows_are_read_unchanged(tmp_path: Path) -> None:
    text = "line\u2028separator, \x85 and\nnewline"
    export([{"record_id": "a", "payload": text}, {"record_id": "b", "payload": None}], tmp_path / "x.jsonl")
    with (tmp_path / "x.jsonl").open("a") as file:
        file.write('\n{"record_id": "c", "payload": {"é": 1}, "reasons": []}')
    assert read_replacements(tmp_path / "x.jsonl") == {"a": text, "b": None, "c": '{"é": 1}'}
    with pytest.raises(ComplaintsError, match=r"missing\.jsonl can't be read \(No such file or directory\)"):
        read_replacements(tmp_path / "missing.jsonl")
    with pytest.raises(ComplaintsError, match=r"can't be written \(Is a directory\)"):
        export([], tmp_path)


def test_replaying_an_old_row_does_not_change_a_newer_outcome(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "newer.json").write_text(json.dumps(complaint(2, company_response="Closed with monetary relief")))
    assert not load_files(lake.settings, [tmp_path / "newer.json"], lambda *_: None).errors
    older = complaint(2, company_response="Closed with explanation", company_public_response="Ours")
    assert counts(replay_fixed(lake, {ids(lake.settings)[2]: json.dumps(older)})) == (1, 0, 1, 0)
    (outcome,) = lake.read(OUTCOMES).where("complaint_id = 2").collect()
    assert (outcome.company_response, outcome.company_public_response) == ("Closed with monetary relief", "Ours")


def test_bytes_that_an_earlier_version_could_not_read_are_replayed_as_they_are(lake: Lake) -> None:
    value = json.dumps(complaint(7)).encode("utf-16")
    times = {"ingested_at": datetime.now(UTC), "refined_at": datetime.now(UTC)}
    message = {"record_id": "t/0/1", "source": "kafka", "ingested_at": times["ingested_at"]}
    message["payload_bytes"] = base64.b64encode(value).decode()
    lake.append(lake.frame([message], BRONZE), BRONZE, "an earlier version")
    refused = {"record_id": "t/0/1", "reasons": ["not_utf8"], **times}
    lake.append(lake.frame([refused], QUARANTINE), QUARANTINE, "an earlier version")
    assert counts(replay(lake.settings, reason="not_utf8", replacements=None)) == (1, 1, 0, 1)
    (replayed,) = replays(lake)
    assert (replayed.replay_of, bytes(replayed.payload_bytes)) == ("t/0/1", value)
    assert lake.read(COMPLAINTS).where("complaint_id = 7").count() == 1

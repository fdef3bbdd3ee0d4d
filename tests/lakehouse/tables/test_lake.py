"""The lake's tables are created as declared, appended to with a mark, and written by one process at a time."""

import shutil
import subprocess
import sys

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.tables import lake as module
from lakehouse.tables.declaration import Column, Table
from lakehouse.tables.lake import Lake, writer_lock

COLUMNS = (Column("id", "bigint", "Its number.", nullable=False), Column("word", "string", "What it is called."))
THINGS = Table(
    name="silver.things",
    grain="one thing",
    comment="Things for a test.",
    columns=COLUMNS,
    constraints={"id_positive": "id > 0", "word_short": "length(word) < 9"},
    cluster_by=("id",),
    properties={"delta.appendOnly": "true"},
)
WAITING = """
from pathlib import Path
import sys
from lakehouse.tables.lake import writer_lock
from lakehouse.settings import load_settings
lock = writer_lock(load_settings(root=Path(sys.argv[1])))
print("writing", flush=True)
sys.stdin.read()
"""


def test_a_table_is_created_with_columns_comments_constraints_and_properties(lake: Lake, spark: SparkSession) -> None:
    lake.create([THINGS])
    found = lake.read(THINGS)
    assert found.dtypes == [("id", "bigint"), ("word", "string")]
    assert [field.metadata["comment"] for field in found.schema] == ["Its number.", "What it is called."]
    detail = lake.delta(THINGS).detail().first()
    assert detail is not None
    assert detail.description == "Things for a test. One row: one thing."
    assert detail.properties == {
        "delta.checkpointInterval": "1000",  # from the session
        "delta.appendOnly": "true",
        "delta.logRetentionDuration": lake.settings.lake.log_retention,
        "delta.enableExpiredLogCleanup": "false",
        "delta.constraints.id_positive": "id > 0",
        "delta.constraints.word_short": "length(word) < 9",
    }
    for record in ({"id": 0, "word": "zero"}, {"id": 1, "word": "a long word"}, {"word": "nothing"}):
        with pytest.raises((PySparkException, Py4JJavaError), match=r"(?i)constraint"):
            lake.append(lake.frame([record], THINGS), THINGS, "test:0")
    assert lake.read(THINGS).count() == 0
    assert spark.catalog.listTables() == [], "tables are accessed by path"


def test_a_table_that_was_replaced_has_another_id_and_both_ways_find_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.create([THINGS])
    lake.append(lake.frame([{"id": 1, "word": "one"}], THINGS), THINGS, "test:1")
    first = lake.table_id(THINGS)
    assert lake.version(THINGS) == 1
    shutil.rmtree(lake.path(THINGS))
    lake.create([THINGS])
    second = lake.table_id(THINGS)
    assert first != second
    assert lake.version(THINGS) == 0
    monkeypatch.setattr(module, "is_tested", lambda _: False)
    assert lake.table_id(THINGS) == second
    assert lake.version(THINGS) == 0


def test_creating_tables_again_changes_nothing(lake: Lake) -> None:
    lake.create([THINGS])
    lake.append(lake.frame([{"id": 1, "word": "one"}], THINGS), THINGS, "test:1")
    version = lake.version(THINGS)
    lake.create([THINGS])
    assert lake.version(THINGS) == version
    assert lake.read(THINGS).count() == 1


def test_a_table_whose_creation_was_interrupted_is_completed(lake: Lake) -> None:
    lake._make(THINGS)
    lake.create([THINGS])
    detail = lake.delta(THINGS).detail().first()
    assert detail is not None
    assert {"delta.constraints.id_positive", "delta.constraints.word_short"} <= set(detail.properties)


def test_a_table_with_other_columns_is_refused_and_the_columns_are_named(lake: Lake) -> None:
    lake.create([THINGS])
    columns = (COLUMNS[0], Column("name", "string", "Its new name."))
    with pytest.raises(ComplaintsError) as refused:
        lake.create([Table("silver.things", "one thing", "Things.", columns)])
    sentence = str(refused.value)
    assert sentence.startswith("The table silver.things in this lake has other columns than this version declares")
    assert "(name, word)" in sentence
    assert "COMPLAINTS_ROOT" in sentence


def test_nullable_columns_are_added_to_an_existing_table_and_rows_stay(lake: Lake) -> None:
    lake.create([Table("silver.things", "one thing", "Things.", COLUMNS[:1])])
    lake.append(lake.frame([{"id": 1}], THINGS).select("id"), Table("silver.things", "", "", COLUMNS[:1]), "test:1")
    added = Column("note", "array<string>", "What's added \\ beside it.")
    lake.create([Table("silver.things", "one thing", "Things.", (*COLUMNS, added))])
    found = lake.read(THINGS)
    assert found.dtypes == [("id", "bigint"), ("word", "string"), ("note", "array<string>")]
    assert found.schema["note"].metadata["comment"] == added.comment
    assert [tuple(row) for row in found.collect()] == [(1, None, None)]
    needed = Column("size", "int", "How large it is.", nullable=False)
    with pytest.raises(ComplaintsError, match=r"has other columns than this version declares \(size\)"):
        lake.create([Table("silver.things", "one thing", "Things.", (*COLUMNS, added, needed))])


def test_a_missing_table_is_named_with_the_command_that_creates_it(lake: Lake) -> None:
    with pytest.raises(ComplaintsError, match=r"no table silver\.things in .*: run `complaints load` first"):
        lake.read(THINGS)


def test_an_append_is_one_commit_with_its_mark_and_versions_can_be_read(lake: Lake) -> None:
    lake.create([THINGS])
    created = lake.version(THINGS)
    for number in (1, 2):
        rows = lake.frame([{"word": "thing", "id": number}], THINGS)
        lake.append(rows.select("word", "id"), THINGS, f"test:{number}")
    assert lake.version(THINGS) == created + 2
    commits = lake.delta(THINGS).history(2).collect()
    assert [commit.userMetadata for commit in commits] == ["test:2", "test:1"]
    assert [lake.read(THINGS, version=created + number).count() for number in (0, 1, 2)] == [0, 1, 2]


def test_a_second_process_may_not_write_until_the_first_has_ended(settings: Settings) -> None:
    folder = settings.folder
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "writing\n"
        with pytest.raises(ComplaintsError, match="Another process is writing the lake in") as refused:
            writer_lock(settings)
        assert str(folder) in str(refused.value)
        other.kill()
    writer_lock(settings).release()  # a killed process holds nothing
    writer_lock(settings).release()


def test_the_next_writer_removes_staged_files_of_a_killed_one(settings: Settings) -> None:
    leftover = settings.folder / "staging-1" / "records.parquet"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("rows")
    with writer_lock(settings):
        assert not leftover.parent.exists()

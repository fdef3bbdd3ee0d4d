"""The same files and messages give the same rows on both platforms: tables in folders, and tables in a catalog.

Spark's own catalog stands in for Unity Catalog, so that the path of a workspace runs here: steps that Spark plans for
each batch, leases, tables by name.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from chispa import assert_df_equality
from kafka import KafkaProducer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import TimestampType

from bronze import tables as bronze
from gold import tables as gold
from lakehouse.platform import DATABRICKS, LOCAL
from lakehouse.settings import Settings, load_settings
from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import Lake
from silver import tables as silver
from streaming.batch.load import load_files
from streaming.kafka.broker import Broker
from streaming.kafka.topics import ensure_topics
from streaming.tables import TABLES
from tests.conftest import SAMPLES, Trained
from tests.stream_fixtures import Streaming, with_topics

COMPARED = (
    *(bronze.COMPLAINTS, bronze.FILES),
    *(silver.COMPLAINTS, silver.NARRATIVES, silver.OUTCOMES, silver.QUARANTINE, silver.DUPLICATES),
    *(gold.DECISIONS, gold.BY_DAY),
)
LAYERS = ("bronze", "silver", "gold", "ml")
FIRST = {"complaint_id": "9000001", "date_received": "2024-03-01", "product": "Mortgage", "issue": "Trouble"}
MESSAGES = (
    {**FIRST, "company": "ACME"},
    {**FIRST, "company": "ACME"},  # unchanged
    {**FIRST, "company": "ACME", "company_response": "Closed with explanation"},
    {**FIRST, "company": "ACME", "complaint_what_happened": "They charged me twice."},
    {**FIRST, "complaint_id": "9000002", "date_received": "soon"},
)


@pytest.fixture
def schemas(spark: SparkSession) -> Iterator[dict[str, str]]:
    """The layers' schemas in Spark's catalog."""
    names = {layer: f"platform_{layer}" for layer in LAYERS}
    for name in names.values():
        spark.sql(f"CREATE SCHEMA {name}")
    yield names
    for name in names.values():
        spark.sql(f"DROP SCHEMA {name} CASCADE")


def streamed(settings: Settings, trained: Trained) -> Lake:
    """Load a file, and run the four queries on the messages."""
    lake = Lake(trained.lake.spark, settings)
    lake.create(TABLES)
    assert not load_files(settings, [SAMPLES / "export-2015-narratives.json.gz"], lambda *_: None).errors
    Streaming(lake, trained.model).all()
    return lake


def without_times(lake: Lake, table: Table) -> DataFrame:
    rows = lake.read(table)
    return rows.drop(*(field.name for field in rows.schema.fields if isinstance(field.dataType, TimestampType)))


def test_both_platforms_write_the_same_rows(
    trained: Trained, shared_broker: Broker, schemas: dict[str, str], tmp_path: Path
) -> None:
    folders = with_topics(load_settings(root=tmp_path / "folders"), shared_broker, "platforms")
    catalog = folders.lake.model_copy(
        update={"catalog": "spark_catalog", "schemas": folders.lake.schemas.model_copy(update=schemas)}
    )
    named = folders.model_copy(update={"root": tmp_path / "named", "lake": catalog})
    assert (folders.platform, named.platform) == (LOCAL, DATABRICKS)
    ensure_topics(folders.kafka, shared_broker.bootstrap_servers)
    with closing(KafkaProducer(bootstrap_servers=shared_broker.bootstrap_servers)) as producer:
        for message in MESSAGES:
            producer.send(folders.kafka.input.name, json.dumps(message).encode(), partition=0)
    lakes = [streamed(settings, trained) for settings in (folders, named)]
    for table in COMPARED:
        one, other = (without_times(lake, table) for lake in lakes)
        assert one.count() > 0, table.name
        assert_df_equality(one, other, ignore_row_order=True, ignore_nullable=True)

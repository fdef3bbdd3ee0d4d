"""Shared by the silver tests: frames from literal records, and the step from payloads to refined rows."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bronze.land import landed_from_kafka
from lakehouse.settings import Settings
from lakehouse.spark.planned import planned
from lakehouse.step import Step
from silver.expectations import load_expectations
from silver.refine import refined
from silver.standardize import load_taxonomy

Frame = Callable[[Sequence[Mapping[str, Any]], str], DataFrame]


@pytest.fixture(scope="session")
def frame(spark: SparkSession) -> Frame:
    """Build a frame from records, passed as one literal so that no Python worker starts."""

    def of(records: Sequence[Mapping[str, Any]], columns: str) -> DataFrame:
        rows = F.from_json(F.lit(json.dumps(list(records), default=str)), f"array<struct<{columns}>>")
        return spark.range(1).select(F.inline(rows)).repartition(2)

    return of


@pytest.fixture(scope="session")
def generated() -> Callable[[SearchStrategy[Any], int], list[Any]]:
    """Draw all examples of a strategy at once: one Spark job takes a second, one per example hours."""

    def of(strategy: SearchStrategy[Any], number: int) -> list[Any]:
        examples: list[Any] = []

        @settings(max_examples=number, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None)
        @given(strategy)
        def collect(example: Any) -> None:  # noqa: ANN401
            examples.append(example)

        collect()
        return examples

    return of


@pytest.fixture(scope="session")
def landed(frame: Frame) -> Callable[[Sequence[str], int], DataFrame]:
    """Land payloads as Kafka messages, at offsets from the given one up."""

    def of(payloads: Sequence[str], first_offset: int = 0) -> DataFrame:
        records = [{"value": payload, "offset": first_offset + at} for at, payload in enumerate(payloads)]
        messages = frame(records, "value string, offset bigint").withColumns(
            {
                "value": F.encode("value", "UTF-8"),
                "topic": F.lit("complaints-input"),
                "partition": F.lit(0),
                "timestamp": F.timestamp_seconds(F.lit(1_700_000_000) + F.col("offset")),
                "headers": F.lit(None).cast("array<struct<key:string,value:binary>>"),
            }
        )
        time = F.timestamp_seconds(F.lit(1_700_000_000) + F.floor(F.col("offset") / 1000))
        return messages.transform(landed_from_kafka).withColumn("ingested_at", time)

    return of


@pytest.fixture(scope="session")
def refining(spark: SparkSession, session_settings: Settings) -> Step:
    """The step from bronze to refined rows with the project's own rules, planned once as in a stream."""
    return planned(refined(load_taxonomy(), load_expectations(spark), session_settings.silver), session_settings)

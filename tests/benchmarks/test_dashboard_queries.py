"""The query behind each chart is timed on gold of any size, filled with copies of real decisions."""

from pathlib import Path

import pytest

from benchmarks.dashboard_queries import markdown, query_times
from benchmarks.gold_rows import fill
from dashboards.assets import Assets
from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import load_settings
from lakehouse.sql.query import query
from lakehouse.tables.lake import Lake
from silver.tables import OUTCOMES
from streaming.tables import TABLES

pytestmark = pytest.mark.benchmarks
ROWS = 2_000


@pytest.fixture(scope="module")
def filled(scored: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(scored.spark, load_settings(root=tmp_path_factory.mktemp("filled")))
    fill(scored, lake, ROWS)
    return lake


def test_the_rows_are_real_decisions_with_new_ids_and_times(scored: Lake, filled: Lake) -> None:
    def rows_of(lake: Lake, statement: str) -> object:
        return query(lake.settings, TABLES, statement).rows

    assert rows_of(filled, "SELECT count(*), count(DISTINCT complaint_id) FROM gold.decisions") == [(ROWS, ROWS)]
    kinds = "SELECT DISTINCT product, issue, company, recommended_action FROM gold.decisions ORDER BY ALL"
    assert rows_of(filled, kinds) == rows_of(scored, kinds)
    assert rows_of(filled, "SELECT count(DISTINCT date_received) > 1000 FROM gold.decisions") == [(True,)]
    same = (
        "SELECT count(*) FROM gold.decisions AS d JOIN silver.outcomes AS o USING (complaint_id) "
        "WHERE o.complaint_received <> d.date_received OR o.complaint_company <> d.company"
    )
    assert rows_of(filled, same) == [(0,)]
    assert filled.read(OUTCOMES).count() > ROWS * 0.9
    assert rows_of(filled, "SELECT sum(complaints) FROM gold.complaints_by_minute") == [(ROWS,)]


def test_every_chart_is_timed_and_returns_rows(filled: Lake) -> None:
    times = query_times(filled.settings, TABLES)
    assert {time.chart for time in times} == {chart.content["slice_name"] for chart in Assets().charts}
    assert [time.chart for time in times if not time.rows or time.warm_ms <= 0] == []
    lines = markdown(times).splitlines()
    assert len(lines) == 2 + len(times)
    assert len({line.count("|") for line in lines}) == 1


def test_without_decisions_filling_is_refused(lake: Lake, tmp_path: Path) -> None:
    lake.create([DECISIONS])
    with pytest.raises(ComplaintsError, match="complaints score"):
        fill(lake, Lake(lake.spark, load_settings(root=tmp_path / "other")), 10)

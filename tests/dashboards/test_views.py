"""What several views derive in the same way is defined once."""

import pytest

from dashboards.views import DEFINITIONS, FOLDER, views


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_is_called_by_several_views_and_replaced_by_its_sql(name: str) -> None:
    calling = [path.stem for path in FOLDER.glob("*.sql") if f"{name}(" in path.read_text(encoding="utf-8")]
    assert len(calling) > 1
    assert [view.name for view in views() if f"{name}(" in view.sql] == []


def test_a_call_takes_the_columns_of_its_view() -> None:
    sql = {view.name: view.sql for view in views()}
    origin = "CASE WHEN o.complaint_is_synthetic THEN 'synthetic' ELSE 'received' END AS origin"
    assert origin in sql["serving.resolutions"]
    assert (
        "(unix_millis(d.scored_at) - unix_millis(d.kafka_timestamp)) / 1000.0 AS latency_s" in sql["serving.decisions"]
    )

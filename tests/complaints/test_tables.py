"""`complaints tables describe` shows a table as it is declared."""

import json

from gold.tables import DECISIONS

from .conftest import Run


def test_describe_shows_columns_constraints_and_properties(run: Run) -> None:
    answer = run("tables", "describe", "gold.decisions")
    lines = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert (answer.code, answer.err) == (0, "")
    assert lines[0] == f"gold.decisions: {DECISIONS.comment} One row: {DECISIONS.grain}."
    assert "column type null comment" in lines
    for column in DECISIONS.columns:
        assert f"{column.name} {column.type} {'yes' if column.nullable else 'no'} {column.comment}" in lines
    assert "constraint probability_range: probability BETWEEN 0 AND 1" in lines
    assert "property delta.appendOnly: true" in lines


def test_describe_as_json_has_the_whole_declaration(run: Run) -> None:
    found = json.loads(run("tables", "describe", "gold.decisions", "--json").out)
    assert [column["name"] for column in found["columns"]] == DECISIONS.column_names
    assert found["columns"][0].keys() == {"name", "type", "comment", "nullable"}
    assert found["constraints"] == dict(DECISIONS.constraints)
    assert found["cluster_by"] == list(DECISIONS.cluster_by)


def test_an_unknown_table_is_refused_with_those_that_it_could_be(run: Run) -> None:
    answer = run("tables", "describe", "complaints")
    assert (answer.code, answer.out) == (1, "")
    known = "bronze.complaints, silver.complaints"
    assert answer.err == f"Error: There is no table complaints: name one of {known}.\n"

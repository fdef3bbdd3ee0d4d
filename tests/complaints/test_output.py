"""Rows are readable at any width, and JSON is JSON whatever the values are."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from functools import partial

import pytest
from rich.console import Console

import complaints
from complaints import print_grid, print_json
from complaints.cells import as_text, short_number
from complaints.model import score_with_progress
from lakehouse.settings import Settings
from lakehouse.sql.query import Result

Printed = Callable[[], list[str]]

WIDE_ROW = ("100004528", "Loan modification,collection,foreclosure", "Acknowledge the notice of error", None, True)
WIDE_COLUMNS = ("complaint_id", "issue", "recommended_action", "sub_issue", "escalate")


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """The lines on standard output since the last call."""
    return lambda: [line.rstrip() for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make standard output a terminal of some width."""

    def of_width(columns: int) -> None:
        console = partial(Console, force_terminal=True, color_system=None, width=columns)
        monkeypatch.setattr(complaints, "Console", console)

    return of_width


def test_a_row_that_is_wider_than_the_terminal_is_a_record(terminal: Callable[[int], None], printed: Printed) -> None:
    terminal(80)
    print_grid(WIDE_COLUMNS, [WIDE_ROW], folds=False)
    assert printed() == [
        "-[ RECORD 1 ]------+-----------------------------------------",
        "complaint_id       | 100004528",
        "issue              | Loan modification,collection,foreclosure",
        "recommended_action | Acknowledge the notice of error",
        "sub_issue          |",
        "escalate           | true",
    ]


def test_a_row_that_fits_the_terminal_is_a_line(terminal: Callable[[int], None], printed: Printed) -> None:
    terminal(120)
    print_grid(WIDE_COLUMNS, [WIDE_ROW], folds=False)
    assert len(printed()) == 2


def test_columns_share_the_width_that_they_need(terminal: Callable[[int], None], printed: Printed) -> None:
    terminal(60)
    long = "export-2023-payday-narratives.csv.gz"
    print_grid(("source", "95 % interval", "note"), [(long, "0.776 to 0.831", "some words that may wrap")])
    lines = printed()
    assert lines[1] == f"{long[:30]}  0.776 to 0.831  some words"
    assert [line[48:] for line in lines[2:]] == ["that may", "wrap"]


def test_a_table_wraps_between_words_and_becomes_records_where_words_would_break(
    terminal: Callable[[int], None], printed: Printed
) -> None:
    terminal(80)
    print_grid(WIDE_COLUMNS, [WIDE_ROW])
    words = {word for line in printed() for word in line.split()}
    assert {"100004528", "recommended_action", "Acknowledge", "escalate"} <= words
    print_grid(("record_id", "payload"), [("complaints-input/1/2438", "word " * 30)])
    assert printed()[1].startswith("complaints-input/1/2438  word")
    terminal(40)
    print_grid(WIDE_COLUMNS, [WIDE_ROW])
    assert printed()[0].startswith("-[ RECORD 1 ]")


@pytest.mark.parametrize("width", [20, 80])
def test_the_value_of_a_record_wraps_beside_its_name(
    terminal: Callable[[int], None], printed: Printed, width: int
) -> None:
    terminal(width)
    print_grid(("narrative", "complaint_id"), [("word " * 60 + "\nnext\n\nend", 1)], folds=False)
    lines = printed()
    assert all(line[14] == "|" for line in lines[1:])
    assert all(len(line) <= max(width, 13 + 3 + 20) for line in lines)
    assert [line[15:].strip() for line in lines[-4:]] == ["next", "", "end", "1"]


def test_without_a_terminal_nothing_is_wrapped(printed: Printed) -> None:
    columns = tuple(f"column {number}" for number in range(40))
    print_grid(columns, [["x" * 300, 12345, "[bold]", *("two words" for _ in columns[3:])]], folds=False)
    header, line = printed()
    assert len(line) > 300 + 37 * 11
    assert line.split()[:3] == ["x" * 300, "12345", "[bold]"]
    assert header.count("column") == 40


def test_numbers_have_thousands_separators_and_nothing_for_null(printed: Printed) -> None:
    print_grid(("name", "rows"), [("a", 12345), ("b", None)], numbers=True)
    assert [line.split() for line in printed()] == [["name", "rows"], ["a", "12,345"], ["b"]]


def test_a_column_of_numbers_is_right_aligned_and_one_of_texts_is_not(printed: Printed) -> None:
    print_grid(
        ("id", "share", "late", "code", "none"), [(7, 0.5, True, "7", None), (12345, None, False, "12345", None)]
    )
    assert [line.rstrip() for line in printed()] == [
        "   id  share  late   code   none",
        "    7    0.5  true   7",
        "12345         false  12345",
    ]


def test_text_is_printed_as_it_is(printed: Printed) -> None:
    print_grid(("name",), [("[bold]:fire:[/bold]",)])
    assert printed()[1] == "[bold]:fire:[/bold]"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (False, "false"),
        (["a", None], '["a", null]'),
        ({"feature": "channel: Fax", "contribution": -0.5}, '{"feature": "channel: Fax", "contribution": -0.5}'),
        (b"\xff\x00", "0xff00"),
        ("\x1b[31mred\ttab\nline", "\ufffd[31mred\ttab\nline"),
        (date(2024, 2, 29), "2024-02-29"),
        (float("nan"), "nan"),
    ],
)
def test_a_cell_reads_as_sql_and_json_write_values(value: object, text: str) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0512349, "0.0512"),
        (2931.4, "2,931"),
        (0, "0"),
        (1e-9, "1e-09"),
        (-0.5, "-0.5"),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_a_number_is_shown_with_three_digits(value: float | None, text: str) -> None:
    assert short_number(value) == text


def test_a_result_is_printed_as_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"rate": float("nan"), "day": date(2024, 2, 29)})
    assert capsys.readouterr().out == '{"rate": null, "day": "2024-02-29"}\n'


def test_the_bar_of_a_scoring_knows_how_many_complaints_wait(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, int, int | None]] = []

    def scored(_: Settings, on_progress: Callable[[str, int], None]) -> int:
        on_progress("scoring", 3)
        on_progress("summarizing", 1)
        return 3

    monkeypatch.setattr("lakehouse.sql.query.query", lambda *_: Result(("undecided",), [(6,)]))
    monkeypatch.setattr("streaming.batch.backlog.score_backlog", scored)
    monkeypatch.setattr("complaints.model.progress_bar", lambda: nullcontext(lambda *step: shown.append(step)))
    assert score_with_progress(settings) == 3
    assert shown == [("scoring", 3, 6), ("summarizing", 1, None)]

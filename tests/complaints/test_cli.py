"""Every command has help with an example; an error is one sentence on standard error, its traceback behind --debug."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import lakehouse.sql.query
from complaints import COMMANDS, cli, print_grid

from .conftest import Run


def with_those_below(words: tuple[str, ...], command: click.Command) -> Iterator[tuple[str, ...]]:
    """The words of a command, and of those of its group."""
    yield words
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from with_those_below((*words, name), below)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_tells_what_a_command_does_with_an_example_of_itself(run: Run, name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for words in with_those_below((name,), command):
        answer = run(*words, "--help")
        assert (answer.code, answer.err) == (0, "")
        example = answer.out.partition("Example:")[2]
        assert f"complaints {' '.join(words)}" in " ".join(example.split())


def test_help_lists_all_commands_without_starting_anything_heavy() -> None:
    script = "import sys; from complaints import cli; cli(['--help'], standalone_mode=False); print(list(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    shown, _, modules = done.stdout.rpartition("[")
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert "'click'" in modules
    heavy = {"mlflow", "sparknlp", "kafka", "duckdb"}
    assert not {name for name in heavy if f"'{name}'" in modules}


def test_an_unknown_command_is_refused(run: Run) -> None:
    answer = run("nonsense")
    assert (answer.code, answer.out) == (2, "")
    assert "No such command 'nonsense'" in answer.err


def test_a_mistake_is_one_sentence_on_standard_error(run: Run, tmp_path: Path) -> None:
    answer = run("--root", tmp_path, "sql", "SELECT 1")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"Error: There are no tables in {tmp_path} yet: run `complaints load` first.\n"


def test_with_debug_the_traceback_comes_before_the_sentence(run: Run, tmp_path: Path) -> None:
    answer = run("--debug", "--root", tmp_path, "sql", "SELECT 1")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("Traceback (most recent call last):")
    assert answer.err.endswith(
        "Error: There are no tables in " + str(tmp_path) + " yet: run `complaints load` first.\n"
    )


@pytest.mark.parametrize("debug", [False, True])
def test_what_nobody_foresaw_is_a_sentence_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, debug: bool
) -> None:
    def broken(*_: object, **__: object) -> None:
        msg = "the disk sang\nand more"
        raise RuntimeError(msg)

    monkeypatch.setattr(lakehouse.sql.query, "query", broken)
    answer = run(*(["--debug"] if debug else []), "--root", tmp_path, "sql", "SELECT 1")
    assert (answer.code, answer.out) == (1, "")
    assert "something unforeseen went wrong (RuntimeError: the disk sang). Run the command again with" in answer.err
    assert ("Traceback" in answer.err) is debug


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sql",), "Missing argument 'STATEMENT'"),
        (("run", "--rate", "fast"), "'fast' is not a valid float range"),
        (("produce", "--malformed", "2"), "2.0 is not in the range 0<=x<=1"),
        (("quarantine", "list", "--limit", "0"), "0 is not in the range x>=1"),
        (("setup", "--colour"), "No such option"),
    ],
)
def test_a_wrong_word_on_the_command_line_is_named(run: Run, words: tuple[str, ...], said: str) -> None:
    answer = run(*words)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


def test_an_interrupt_is_no_error_of_the_program(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lakehouse.sql.query, "query", interrupted)
    answer = run("--root", tmp_path, "sql", "SELECT 1")
    assert (answer.code, answer.out, answer.err.strip()) == (130, "", "Stopped.")


def test_a_grid_is_whole_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_grid(("name", "rows"), [("x" * 300, 12345), ("[bold]", None)], numbers=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["x" * 300, "12,345"]
    assert lines[2].split() == ["[bold]"]

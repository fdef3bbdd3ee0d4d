"""Every command has readable help with an example; an error is one sentence, its traceback only with --debug."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from pyspark import SparkContext

import lakehouse.sql.query
from complaints import COMMANDS, cli
from lakehouse.spark import java_process

from .conftest import Run


def with_subcommands(words: tuple[str, ...], command: click.Command) -> Iterator[tuple[str, ...]]:
    """The words of a command and of its subcommands."""
    yield words
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from with_subcommands((*words, name), below)


def help_pages(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """The command path and the help page of a command and of everything below it, as wide as the context."""
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from help_pages(below, wide_context(below, name, context.terminal_width, context))


def wide_context(
    command: click.Command, name: str, width: int | None, parent: click.Context | None = None
) -> click.Context:
    """A context in which help pages have this width."""
    return click.Context(command, info_name=name, parent=parent, terminal_width=width, max_content_width=width)


@pytest.mark.parametrize("width", [80, 120])
def test_help_pages_fit_the_terminal_and_cut_nothing(width: int) -> None:
    pages = list(help_pages(cli, wide_context(cli, "complaints", width)))
    assert len(pages) > len(COMMANDS)
    for path, page in pages:
        lines = page.splitlines()
        assert [line for line in lines if len(line) > width] == [], path
        assert "\\" not in page, path
        example = lines.index("  Example:")
        assert lines[example + 1].startswith("      complaints"), path
        listed = lines[lines.index("Commands:") :] if "Commands:" in lines else []
        assert [line for line in listed if line.endswith("...")] == [], path


def test_help_uses_the_width_of_a_wide_terminal() -> None:
    assert cli.context_settings["max_content_width"] == 120


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_of_the_command_itself(run: Run, name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for words in with_subcommands((name,), command):
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


def test_an_unknown_command_is_rejected(run: Run) -> None:
    answer = run("nonsense")
    assert (answer.code, answer.out) == (2, "")
    assert "No such command 'nonsense'" in answer.err


def test_an_error_is_one_sentence_on_standard_error(run: Run, tmp_path: Path) -> None:
    answer = run("--root", tmp_path, "sql", "SELECT 1")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == f"Error: There are no tables in {tmp_path} yet: run `complaints load` first.\n"


def test_with_debug_the_traceback_precedes_the_error(run: Run, tmp_path: Path) -> None:
    answer = run("--debug", "--root", tmp_path, "sql", "SELECT 1")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("Traceback (most recent call last):")
    assert answer.err.endswith(
        "Error: There are no tables in " + str(tmp_path) + " yet: run `complaints load` first.\n"
    )


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_exception_is_one_sentence_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, debug: bool
) -> None:
    def broken(*_: object, **__: object) -> None:
        msg = "disk error\nand more"
        raise RuntimeError(msg)

    monkeypatch.setattr(lakehouse.sql.query, "running_query", broken)
    answer = run(*(["--debug"] if debug else []), "--root", tmp_path, "sql", "SELECT 1")
    assert (answer.code, answer.out) == (1, "")
    assert "unexpected failure (RuntimeError: disk error). Run the command again with --debug" in answer.err
    assert ("Traceback" in answer.err) is debug


def test_the_end_of_sparks_java_process_is_told_as_such(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(lakehouse.sql.query, "running_query", broken)
    with subprocess.Popen([sys.executable, "-c", ""]) as killed:
        monkeypatch.setattr(SparkContext, "_gateway", SimpleNamespace(proc=killed))
        answer = run("--root", tmp_path, "sql", "SELECT 1")
    assert (answer.code, answer.err) == (1, f"Error: {java_process.ENDED}\n")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        monkeypatch.setattr(SparkContext, "_gateway", SimpleNamespace(proc=alive))
        answer = run("--root", tmp_path, "sql", "SELECT 1")
        alive.kill()
    assert "unexpected failure (ConnectionRefusedError" in answer.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sql",), "Missing argument 'STATEMENT'"),
        (("run", "--rate", "fast"), "'fast' is not a valid float range"),
        (("produce", "--malformed", "2"), "2.0 is not in the range 0<=x<=1"),
        (("quarantine", "list", "--limit", "0"), "0 is not in the range x>=1"),
        (("setup", "--colour"), "No such option"),
    ],
)
def test_a_usage_error_names_the_wrong_argument(run: Run, words: tuple[str, ...], message: str) -> None:
    answer = run(*words)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_ctrl_c_stops_a_command_without_an_error(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lakehouse.sql.query, "running_query", interrupted)
    answer = run("--root", tmp_path, "sql", "SELECT 1")
    assert (answer.code, answer.out, answer.err.strip()) == (130, "", "Stopped.")


@pytest.mark.parametrize(
    "words",
    [
        ("sql", "SELECT 1"),
        ("tables", "list"),
        ("monitor", "alerts"),
        ("monitor", "health"),
        ("quarantine", "list"),
        ("models", "list"),
        ("trace", "1"),
        ("load",),
        ("demo",),
        ("setup",),
    ],
)
def test_tables_of_a_workspace_are_not_looked_for_on_a_laptop(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    answer = run("--root", tmp_path / "lake", "--environment", "prod", *words)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        "Error: The environment prod has its tables in the catalog complaints of a Databricks workspace, which this "
        "machine is not part of: run the deployed jobs with `complaints databricks run`, query the tables through a "
        "SQL warehouse, or use --environment local.\n"
    )
    assert not (tmp_path / "lake").exists()


def test_on_a_cluster_duckdb_refuses_to_look_for_a_local_lake(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "16.4")
    answer = run("--environment", "prod", "sql", "SELECT 1")
    assert answer.err == "Error: The tables of the environment prod are in a workspace: query a SQL warehouse.\n"


@pytest.mark.parametrize(
    ("words", "needed"),
    [(("topics", "list"), "kafka.bootstrap_servers"), (("superset", "status"), "COMPLAINTS_SUPERSET__WAREHOUSE")],
)
def test_what_needs_no_table_asks_only_for_what_it_needs(
    run: Run, tmp_path: Path, words: tuple[str, ...], needed: str
) -> None:
    answer = run("--root", tmp_path, "--environment", "prod", *words)
    assert (answer.code, answer.out) == (1, "")
    assert needed in answer.err


def test_every_setting_of_a_workspace_can_be_shown_on_a_laptop(run: Run, tmp_path: Path) -> None:
    answer = run("--root", tmp_path, "--environment", "prod", "setup", "--show")
    assert answer.code == 0
    assert ["lake.catalog", "complaints", "conf/prod.yaml"] in [line.split() for line in answer.out.splitlines()]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("load", "/nonexistent"), "There is no file or folder /nonexistent."),
        (("load", "/nonexistent", "/nor/this", "--json"), "There is no file or folder /nonexistent, /nor/this."),
        (("evaluate", "--data", "/nonexistent"), "There is no file /nonexistent: --data takes an export file."),
        (("models", "list"), "The registry has no champion of the model 'complaint_resolution': run"),
        (("models", "compare", "1", "2"), "The registry has no champion of the model 'complaint_resolution': run"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once_and_leaves_nothing(
    run: Run, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    began = time.monotonic()
    answer = run("--root", tmp_path / "lake", *words)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"Error: {message}")
    assert len(answer.err.splitlines()) == 1
    assert not (tmp_path / "lake").exists()
    assert time.monotonic() - began < 8  # without Spark; the first command imports MLflow

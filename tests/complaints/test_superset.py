"""`complaints superset` takes no password on the command line, where every process of the machine can read it."""

from pathlib import Path

import click

from complaints.superset import superset
from tests.complaints.conftest import Run


def test_no_command_takes_a_password_as_an_option() -> None:
    context = click.Context(superset)
    for name in superset.list_commands(context):
        command = superset.get_command(context, name)
        assert command is not None
        assert [each.name for each in command.params if each.name in {"password", "secret"}] == [], name


def test_a_snapshot_rejects_a_password_option(run: Run, tmp_path: Path) -> None:
    arguments = ("superset", "snapshot", "complaint-overview", tmp_path / "x.pdf", "--password", "x")
    answer = run("--root", tmp_path, *arguments)
    assert answer.code == 2
    assert "No such option" in answer.err

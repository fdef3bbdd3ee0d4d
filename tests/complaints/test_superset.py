"""`complaints superset`: a password never stands on a command line, where every process of the machine can read it."""

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


def test_a_snapshot_asked_with_a_password_on_the_line_is_refused(run: Run, tmp_path: Path) -> None:
    told = run("--root", tmp_path, "superset", "snapshot", "complaint-overview", tmp_path / "x.pdf", "--password", "x")
    assert told.code == 2
    assert "No such option" in told.err

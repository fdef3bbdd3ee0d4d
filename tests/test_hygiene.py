"""Tracked files contain nothing that must stay private, and the README's commands exist."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from complaints import cli

PROJECT = Path(__file__).resolve().parent.parent

# Split into parts, so that this file itself does not match.
SECRETS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE " + "KEY-----",
    "an AWS access key": r"\bAKI" + r"A[0-9A-Z]{16}\b",
    "a GitHub token": r"\bgh[pousr]" + r"_[A-Za-z0-9]{30,}\b",
    "a Databricks token": r"\bdapi" + r"[0-9a-f]{32}\b",
    "a Slack token": r"\bxox" + r"[abprs]-[A-Za-z0-9-]{10,}",
    "a password in a URL": r"\b[a-z][a-z0-9+]{1,20}://[^\s/:@'\"]{1,40}:[^\s/@'\"{}<$]{3,40}@",
    "a password in plain text": r"(?im)^\s*(?:export\s+)?\w*(?:password|secret|token|api_key)\s*[:=]\s*"
    r"['\"]?[A-Za-z0-9+/_-]{12,}['\"]?\s*$",
}
MACHINE = {
    "a home folder": r"(?<![\w.])/(?:home|Users)/[a-z][\w.-]*/",
    "root's home folder": r"(?<![\w.])/ro" + "ot/",
    "a folder of one machine": r"(?<![\w./])/wo" + r"rk/\w",
    "a Windows user folder": r"[A-Za-z]:\\Users\\",
}
REGISTRIES = {
    "the URL of a package registry": r"(?i)https?://[^\s'\"]*(?:py" + r"pi\.org|python" + r"hosted\.org|maven"
    r"\.org|maven\.apache|repo1\.|registry\.npm" + r"js|conda\.ana" + "conda)",
}
FORBIDDEN = SECRETS | MACHINE | REGISTRIES


def tracked() -> Iterator[tuple[str, str]]:
    """Yield every tracked text file with its content."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True, text=True)  # noqa: S607
    for name in filter(None, listed.stdout.split("\0")):
        path = PROJECT / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content:
            yield name, content.decode("utf-8", errors="replace")


def found(patterns: dict[str, str], text: str) -> list[str]:
    return [what for what, pattern in patterns.items() if re.search(pattern, text)]


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN RSA PRIVATE " + "KEY-----",
        "AKI" + "AABCDEFGHIJKLMNOP",
        "gh" + "p_" + "a1" * 18,
        "dap" + "i" + "0123456789abcdef" * 2,
        "postgresql://admin:" + "hunter22@db.example/x",
        "  password: " + "correcthorsebattery",
        "see /ro" + "ot/.cache",
        "in /ho" + "me/anna/project",
        "https://py" + "pi.org/simple",
    ],
)
def test_the_patterns_match_what_they_are_for(text: str) -> None:
    assert found(FORBIDDEN, text)


def test_no_tracked_file_has_a_secret_a_local_folder_or_a_registry_url() -> None:
    files = dict(tracked())
    assert "pyproject.toml" in files
    wrong = {name: what for name, text in files.items() if (what := found(FORBIDDEN, text))}
    assert wrong == {}


def readme_commands() -> list[list[str]]:
    """Return the words of every `complaints …` and `make …` in the README's code."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    fenced = [line for block in re.findall(r"(?ms)^```\w*\n(.*?)^```", text) for line in block.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", text))
    commands = []
    for line in (*fenced, *inline):
        match = re.match(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*((?:\.venv/bin/)?complaints|make)\b(?:\s+([^#|>&;]*))?", line)
        if match:
            commands.append([match[1].rsplit("/", 1)[-1], *(match[2] or "").split()])
    return commands


def makefile_targets() -> set[str]:
    return set(re.findall(r"(?m)^([a-z][a-z-]*):", (PROJECT / "Makefile").read_text(encoding="utf-8")))


def unknown_parts(words: list[str]) -> list[str]:
    """Return the words of a `complaints` command line that are neither commands nor options."""
    command: click.Command = cli
    context = click.Context(cli, info_name="complaints")
    wrong = []
    for word in words:
        options = {opt for parameter in command.get_params(context) for opt in parameter.opts}
        if word.startswith("--"):
            wrong += [] if word.split("=")[0] in options else [word]
        elif isinstance(command, click.Group) and re.fullmatch(r"[a-z-]+", word):
            subcommand = command.get_command(context, word)
            if subcommand is None:
                return [*wrong, word]
            command = subcommand
    return wrong


def test_every_command_in_the_readme_exists() -> None:
    commands = readme_commands()
    assert commands
    targets = makefile_targets()
    for name, *words in commands:
        if name == "make":
            assert {word for word in words if "=" not in word} <= targets, f"make {' '.join(words)}"
        else:
            assert unknown_parts(words) == [], f"complaints {' '.join(words)}"


def test_the_help_of_every_command_has_an_example() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert "Example:" in (command.help or "") or isinstance(command, click.Group), name

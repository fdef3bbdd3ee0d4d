"""What must never stand in a tracked file, and what the README promises."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from complaints import cli

PROJECT = Path(__file__).resolve().parent.parent

# Put together here, so that this file itself stays clean.
SECRETS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE " + "KEY-----",
    "an access key of AWS": r"\bAKI" + r"A[0-9A-Z]{16}\b",
    "a token of GitHub": r"\bgh[pousr]" + r"_[A-Za-z0-9]{30,}\b",
    "a token of Databricks": r"\bdapi" + r"[0-9a-f]{32}\b",
    "a token of Slack": r"\bxox" + r"[abprs]-[A-Za-z0-9-]{10,}",
    "a password in an address": r"\b[a-z][a-z0-9+]{1,20}://[^\s/:@'\"]{1,40}:[^\s/@'\"{}<$]{3,40}@",
    "a password given outright": r"(?im)^\s*(?:export\s+)?\w*(?:password|secret|token|api_key)\s*[:=]\s*"
    r"['\"]?[A-Za-z0-9+/_-]{12,}['\"]?\s*$",
}
MACHINE = {
    "a folder of somebody's home": r"(?<![\w.])/(?:home|Users)/[a-z][\w.-]*/",
    "a folder of root": r"(?<![\w.])/ro" + "ot/",
    "a folder of one machine": r"(?<![\w./])/wo" + r"rk/\w",
    "a user's folder of Windows": r"[A-Za-z]:\\Users\\",
}
REGISTRIES = {
    "the address of a package registry": r"(?i)https?://[^\s'\"]*(?:py" + r"pi\.org|python" + r"hosted\.org|maven"
    r"\.org|maven\.apache|repo1\.|registry\.npm" + r"js|conda\.ana" + "conda)",
}
FORBIDDEN = SECRETS | MACHINE | REGISTRIES


def tracked() -> Iterator[tuple[str, str]]:
    """Every tracked text file with its content."""
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
def test_the_patterns_find_what_they_are_for(text: str) -> None:
    assert found(FORBIDDEN, text)


def test_no_tracked_file_holds_a_secret_a_folder_of_one_machine_or_the_address_of_a_registry() -> None:
    files = dict(tracked())
    assert "pyproject.toml" in files
    wrong = {name: what for name, text in files.items() if (what := found(FORBIDDEN, text))}
    assert wrong == {}


def readme_commands() -> list[list[str]]:
    """The words of every `complaints …` and `make …` in the README's fenced blocks and inline code."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    fenced = [line for block in re.findall(r"(?ms)^```\w*\n(.*?)^```", text) for line in block.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", text))
    commands = []
    for line in (*fenced, *inline):
        told = re.match(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*((?:\.venv/bin/)?complaints|make)\b(?:\s+([^#|>&;]*))?", line)
        if told:
            commands.append([told[1].rsplit("/", 1)[-1], *(told[2] or "").split()])
    return commands


def makefile_targets() -> set[str]:
    return set(re.findall(r"(?m)^([a-z][a-z-]*):", (PROJECT / "Makefile").read_text(encoding="utf-8")))


def unknown_parts(words: list[str]) -> list[str]:
    """The words of a `complaints` command line that are neither its commands nor their options."""
    command: click.Command = cli
    context = click.Context(cli, info_name="complaints")
    wrong = []
    for word in words:
        options = {opt for parameter in command.get_params(context) for opt in parameter.opts}
        if word.startswith("--"):
            wrong += [] if word.split("=")[0] in options else [word]
        elif isinstance(command, click.Group) and re.fullmatch(r"[a-z-]+", word):
            below = command.get_command(context, word)
            if below is None:
                return [*wrong, word]
            command = below
    return wrong


def test_every_command_that_the_readme_names_exists() -> None:
    commands = readme_commands()
    assert commands
    targets = makefile_targets()
    for name, *words in commands:
        if name == "make":
            assert {word for word in words if "=" not in word} <= targets, f"make {' '.join(words)}"
        else:
            assert unknown_parts(words) == [], f"complaints {' '.join(words)}"


def test_every_command_says_how_it_is_used() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert "Example:" in (command.help or "") or isinstance(command, click.Group), name

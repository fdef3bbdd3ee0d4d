"""docs/databricks.md and the workflows name only existing commands, files and targets."""

import re

import pytest

from lakehouse.settings import read_yaml
from tests.databricks.conftest import PROJECT
from tests.test_hygiene import unknown_parts

DOCS = (PROJECT / "docs" / "databricks.md").read_text(encoding="utf-8")
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))


def commands(text: str) -> list[list[str]]:
    """Return the words of each `complaints …` in inline code or in a workflow."""
    inline = re.findall(r"`complaints ([^`\n]+(?:\n\s*[^`\n]+)?)`", text)
    lines = re.findall(r"(?m)\.venv/bin/complaints (.+)$", text)
    return [part.split() for part in (*inline, *lines)]


@pytest.mark.parametrize("text", [DOCS, *(path.read_text() for path in WORKFLOWS)], ids=["docs", *map(str, WORKFLOWS)])
def test_every_command_exists(text: str) -> None:
    for words in commands(text):
        assert unknown_parts(words) == [], f"complaints {' '.join(words)}"


def test_the_page_names_commands() -> None:
    assert len(commands(DOCS)) > 8


def test_every_file_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:resources|samples|tests|\.github)/[\w./-]*|databricks\.yml)`", DOCS)
    assert len(named) > 10
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_workflows_pin_their_actions_and_store_no_token() -> None:
    assert len(WORKFLOWS) == 2
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        used = re.findall(r"uses: (\S+)", text)
        assert used
        assert [name for name in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name)] == []
        assert "secrets." not in text
        jobs = read_yaml(path)["jobs"].values()
        authenticated = [job for job in jobs if "DATABRICKS_HOST" in job.get("env", {})]
        assert authenticated
        for job in authenticated:
            assert job["permissions"] == {"contents": "read", "id-token": "write"}
            assert job["env"]["DATABRICKS_AUTH_TYPE"] == "github-oidc"
            assert job["environment"]


def test_pull_requests_run_with_a_read_only_identity() -> None:
    """A branch can change its own workflow, so it must never get an identity that can deploy."""
    pull_request, release = (
        read_yaml(PROJECT / f".github/workflows/{name}.yml") for name in ("pull-request", "release")
    )
    deploying = {job["env"]["DATABRICKS_CLIENT_ID"] for job in release["jobs"].values()}
    environments = {job["environment"] for job in release["jobs"].values()}
    authenticated = [job for job in pull_request["jobs"].values() if "id-token" in job.get("permissions", {})]
    assert authenticated
    for job in authenticated:
        assert job["env"]["DATABRICKS_CLIENT_ID"] == "${{ vars.DATABRICKS_READER_CLIENT_ID }}"
        assert job["env"]["DATABRICKS_CLIENT_ID"] not in deploying
        assert job["environment"] not in environments
        assert [step for step in job["steps"] if re.search(r"bundle (deploy|run|destroy)", step.get("run", ""))] == []
    assert "DATABRICKS_READER_CLIENT_ID" in DOCS

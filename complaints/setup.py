"""`complaints setup`: check that the machine can run every command, and show every setting."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help and --show are fast

import sys
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from complaints import Invocation, json_option, print_grid, print_json, terminal
from lakehouse.settings import Settings
from lakehouse.settings_sources import provenance
from lakehouse.setup.jar_sets import OPTIONAL
from lakehouse.setup.jars import ensure_optional_jars, spark_jars
from lakehouse.setup.shared_classes import share_spark_classes

if TYPE_CHECKING:
    from lakehouse.checks import Finding


@click.command()
@click.option("--show", is_flag=True, help="Print every setting with its value and source, and check nothing.")
@click.option(
    "--with",
    "features",
    type=click.Choice([jar_set.name for jar_set in OPTIONAL]),
    multiple=True,
    help="First download what this optional model feature needs; can be repeated.",
)
@json_option
@click.pass_context
def setup(context: click.Context, /, show: bool, features: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """Check that this machine can run every command.

    Checks Python, Java, the jars, the lake's folder, Spark, the Kafka broker and the model registry by using each of
    them. Exits with 1 when a check fails, and says how to fix it.

    \b
    Example:
        complaints setup
        complaints setup --show
        complaints setup --with embeddings
    """
    invocation: Invocation = context.obj
    settings = invocation.settings(uses_tables=not show)
    if show:
        _show(provenance(settings, **invocation.options), as_json=as_json)
        return
    if features:
        ensure_optional_jars(features)
        share_spark_classes(spark_jars())  # the archive without these jars is no longer used
    findings = _checked(settings, as_json=as_json, is_debug=context.find_root().params["debug"])
    if as_json:
        checks = [{"what": f.what, "ok": f.is_ok, "detail": f.detail, "seconds": f.seconds} for f in findings]
        print_json({"ok": all(finding.is_ok for finding in findings), "checks": checks})
    if not all(finding.is_ok for finding in findings):
        sys.exit(1)


def _show(rows: Iterable[tuple[str, str, str]], *, as_json: bool) -> None:
    if as_json:
        print_json({"settings": [dict(zip(("key", "value", "source"), row, strict=True)) for row in rows]})
        return
    print_grid(("setting", "value", "from"), ((key, " ".join(value.split()), source) for key, value, source in rows))


def _checked(settings: Settings, *, as_json: bool, is_debug: bool) -> list["Finding"]:
    from complaints.machine_checks import machine_checks
    from lakehouse.checks import Check, run_checks

    checks = (
        *machine_checks(settings),
        Check("broker", lambda: _broker(settings), needs=("java", "jars", "folder")),
        Check("registry", lambda: _registry(settings), needs=("folder",)),
    )
    findings = []
    with terminal().status("checking"):
        for finding in run_checks(checks):
            findings.append(finding)
            if not as_json:
                verdict = "ok" if finding.is_ok else "problem"
                click.echo(f"{finding.what:<10}{verdict:<9}{finding.seconds:>5.1f} s  {finding.detail}")
            if is_debug and finding.error is not None:
                traceback.print_exception(finding.error)
    return findings


def _broker(settings: Settings) -> str:
    from streaming.kafka.broker_check import check_broker

    return check_broker(settings)


def _registry(settings: Settings) -> str:
    from ml.registry.registry import Registry
    from ml.registry.versions import CHAMPION

    registry = Registry(settings)
    registry.refuse_locked()
    version = registry.version_of(CHAMPION)
    if version is None:
        return "opened; no champion yet: complaints train"
    return f"opened; the champion of {registry.name} is version {version}"

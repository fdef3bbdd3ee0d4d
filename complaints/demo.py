"""`complaints demo`: the whole pipeline on the project's samples, from files and Kafka to decisions."""
# ruff: noqa: PLC0415 - imported when the command runs, so that help is fast

import sys
import textwrap
from typing import Any

import click

from complaints import Invocation
from complaints.load import SAMPLES, load_with_progress, print_load
from complaints.model import print_training, score_with_progress, train_with_status
from complaints.stream import print_report, run_plan
from lakehouse.settings import Settings

RATE = 10_000.0
MINUTES = 0.5
MIX = {"malformed": 0.01, "duplicates": 0.01, "updated": 0.02}  # shares of the messages
SHOWN = 3

# Counts each record once; `doubled` counts the rows that repeat a record in the same layer.
BALANCE = """
    WITH layers AS (
        SELECT 'bronze' AS layer, record_id FROM bronze.complaints
        UNION ALL SELECT 'silver', record_id FROM silver.complaints
        UNION ALL SELECT 'quarantined', record_id FROM silver.quarantine
        UNION ALL SELECT 'duplicates', record_id FROM silver.duplicates
        UNION ALL SELECT 'gold', record_id FROM gold.decisions WHERE coalesce(version, 1) = 1)
    SELECT count(DISTINCT record_id) FILTER (layer = 'bronze') AS bronze,
           count(DISTINCT record_id) FILTER (layer = 'silver') AS silver,
           count(DISTINCT record_id) FILTER (layer = 'quarantined') AS quarantined,
           count(DISTINCT record_id) FILTER (layer = 'duplicates') AS duplicates,
           count(DISTINCT record_id) FILTER (layer = 'gold') AS gold,
           count(*) - count(DISTINCT (layer, record_id)) AS doubled
    FROM layers
"""
# The most urgent decisions on complaints with a narrative, one per team.
EXAMPLES = """
    SELECT d.*, c.narrative
    FROM gold.decisions AS d JOIN silver.complaints AS c USING (complaint_id)
    WHERE c.narrative IS NOT NULL AND len(d.rules) > 1 AND d.is_synthetic IS NULL
    QUALIFY row_number() OVER (PARTITION BY d.team ORDER BY d.scored_at DESC, d.probability DESC) = 1
    ORDER BY list_position(['critical', 'high', 'medium', 'low'], d.urgency), d.complaint_id
    LIMIT $shown
"""


@click.command()
@click.pass_obj
def demo(invocation: Invocation) -> None:
    """Run the whole pipeline on the project's samples.

    Loads the samples, trains a model, scores every complaint, streams half a minute of complaints through Kafka at
    10,000 per minute, checks that the counts balance, and shows three decisions with their reasons. A second run
    continues in the same lake and keeps what is loaded and trained. Exits with 1 when the counts do not balance.

    \b
    Example:
        complaints demo
    """
    from streaming.batch.quality_assessment import assessment
    from streaming.kafka.generator import Mix

    settings = invocation.settings()
    _heading(f"1. Real complaints, from files of five layouts, into bronze and silver ({settings.folder})")
    loaded = load_with_progress(settings, (SAMPLES,))
    print_load(loaded.as_json())
    _heading("2. A model of which complaints end in a successful resolution, from what is known at intake")
    _train_if_needed(settings, is_new=loaded.rows > 0)
    _heading("3. A decision for each complaint")
    click.echo(f"{score_with_progress(settings):,} complaints scored")
    metrics = len(assessment(settings).rows)
    click.echo(f"{metrics:,} weekly metrics of the model's quality, see `complaints models quality`")
    _heading(f"4. Live: {RATE:,.0f} complaints per minute through Kafka, some malformed, duplicated or updated")
    report = run_plan(invocation, RATE, MINUTES, Mix(**MIX))
    print_report(report)
    _heading("5. The whole lake")
    balanced = _print_balance(settings)
    _heading("6. Three decisions")
    _print_decisions(settings)
    click.echo('\nQuery the lake: complaints sql "SELECT urgency, team, count(*) FROM gold.decisions GROUP BY ALL"')
    click.echo("Watch complaints arrive in the dashboards: make live (it runs `complaints live`)")
    if not (balanced and report["complete"]):
        sys.exit(1)


def _heading(text: str) -> None:
    click.secho(f"\n{text}", bold=True)


def _train_if_needed(settings: Settings, *, is_new: bool) -> None:
    from lakehouse.errors import ComplaintsError
    from ml.registry.registry import Registry

    try:
        version = Registry(settings).champion_version()
    except ComplaintsError:
        version = None
    if version is None or is_new:
        print_training(train_with_status(settings))
    else:
        click.echo(f"version {version} is already the champion (`complaints train` trains a new one)")


def _print_balance(settings: Settings) -> bool:
    from lakehouse.sql.query import query
    from streaming.tables import TABLES

    result = query(settings, TABLES, BALANCE)
    counts = dict(zip(result.columns, result.rows[0], strict=True))
    doubled = counts.pop("doubled")
    balanced: bool = (
        counts["bronze"] == counts["silver"] + counts["quarantined"] + counts["duplicates"]
        and counts["gold"] == counts["silver"]
        and not doubled
    )
    click.echo("   ".join(f"{layer} {count:,}" for layer, count in counts.items()))
    sign = "=" if balanced else "is NOT"
    click.echo(f"bronze {sign} silver + quarantined + duplicates, and gold {sign} silver")
    if doubled:
        click.echo(f"{doubled:,} rows repeat a record in the same layer")
    return balanced


def _print_decisions(settings: Settings) -> None:
    from lakehouse.sql.query import query
    from streaming.tables import TABLES

    result = query(settings, TABLES, EXAMPLES, {"shown": SHOWN})
    for row in result.rows:
        _print_decision(dict(zip(result.columns, row, strict=True)))


def _print_decision(decision: dict[str, Any]) -> None:
    narrative = textwrap.shorten(decision["narrative"], 200, placeholder=" …")
    second = ", with a second reader" if decision["escalate"] else ""
    click.echo(f"\ncomplaint {decision['complaint_id']}: {decision['product']} / {decision['issue']}")
    click.echo(textwrap.indent(textwrap.fill(f'"{narrative}"', 110), "    "))
    click.echo(f"    urgency {decision['urgency']}, to {decision['team']}{second}, due {decision['due_on']}")
    click.echo(f"    do: {decision['recommended_action']}")
    for reason in decision["reasons"]:
        click.echo(f"    because: {reason['reason']} [{reason['basis']}]")
    influences = "; ".join(f"{i['feature']} {i['contribution']:+.2f}" for i in decision["influences"][:SHOWN])
    click.echo(
        f"    probability of a successful resolution {decision['probability']:.0%} (version "
        f"{decision['model_version']}, scored with {decision['scored_with']}): {influences}"
    )

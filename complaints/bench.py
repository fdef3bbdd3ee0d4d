"""`complaints bench`: how fast the pipeline is on this machine, also compared with an earlier benchmark."""
# ruff: noqa: PLC0415 - imported when a command runs, so that help is fast

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from complaints import Invocation, json_option, print_grid, print_json
from complaints.bench_runs import measured, plan_of
from complaints.stream import print_report, rate_option, share_option
from lakehouse.errors import ComplaintsError

if TYPE_CHECKING:
    from benchmarks.bench import Bench, Watcher
    from lakehouse.settings import Settings

duration_option = click.option(
    "--duration",
    type=click.FloatRange(min=0.01),
    default=5,
    show_default=True,
    metavar="MINUTES",
    help="How long to measure, in minutes.",
)
warm_up_option = click.option(
    "--warm-up",
    type=click.FloatRange(min=0),
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="Warm-up before the measurement, in seconds at the same rate.",
)
narratives_option = share_option("--narratives", "Share of complaints with a narrative.", default=1.0)


@click.group()
def bench() -> None:
    """Benchmark the stream, batch jobs, queries or training.

    Each benchmark runs the real code in a lake of its own and writes its metrics as JSON, with a chart, to
    <root>/reports. Nothing else should run on the machine: the processors that other processes used are reported as
    others_cores.

    \b
    Example:
        complaints bench stream --rate 10000 --duration 5
        complaints bench compare before.json after.json
    """


@bench.command()
@rate_option("Complaints to send per minute.")
@duration_option
@warm_up_option
@click.option(
    "--run-in",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    metavar="MINUTES",
    help="Run-in before the warm-up, in minutes at 10,000 complaints per minute.",
)
@narratives_option
@click.option(
    "--known",
    type=click.IntRange(min=0),
    default=200_000,
    show_default=True,
    metavar="COMPLAINTS",
    help="Complaints that the lake has before, loaded from files.",
)
@click.option("--intake-only", is_flag=True, help="Send new complaints only, to an empty lake.")
@json_option
@click.pass_obj
def stream(  # noqa: PLR0913 - one parameter per option
    invocation: Invocation,
    /,
    *,
    rate: float,
    duration: float,
    warm_up: float,
    run_in: float,
    narratives: float,
    known: int,
    intake_only: bool,
    as_json: bool,
) -> None:
    """Benchmark the stream at a given rate.

    Measures batch times by query and phase, the time from Kafka to gold, and processor time. Many messages are about
    complaints that come again, drawn evenly from all: 30 % bring an outcome, 3 % repeat one, 2 % correct its intake,
    1 % bring its narrative; 1 % are malformed. The warm-up is not part of --duration. Use --run-in before a high rate:
    a stream that has just started handles less than it will later.

    \b
    Example:
        complaints bench stream --rate 10000 --duration 5
        complaints bench stream --intake-only --rate 60000 --run-in 5
    """
    from benchmarks.bench import bench_stream

    total = round(rate * (duration + warm_up / 60))
    plan = plan_of(total, narratives, rate=rate, warm_up=warm_up, known=None if intake_only else known)
    settings = invocation.settings()
    found = measured(invocation, lambda w: bench_stream(settings, plan, w, run_in), as_json=as_json, ends_early=True)
    if not as_json:
        print_report(dict(found.figures))
        _print_costs(found.figures)


@bench.command()
@rate_option("Complaints to send per minute.")
@duration_option
@warm_up_option
@narratives_option
@json_option
@click.pass_obj
def textbook(
    invocation: Invocation,
    /,
    rate: float,
    duration: float,
    warm_up: float,
    narratives: float,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Benchmark the pipeline that a user would write from the guides.

    Three streaming queries with Delta's own sink and default settings: the same steps, champion and load as
    `complaints bench stream`, but no repeats, outcomes, quarantine, aggregates or publishing. Run both on the same
    machine within an hour, and compare them.

    \b
    Example:
        complaints bench textbook --rate 10000 --duration 5
        complaints bench compare textbook.json stream.json
    """
    from benchmarks.textbook import bench_textbook

    plan = plan_of(round(rate * (duration + warm_up / 60)), narratives, rate=rate, warm_up=warm_up)
    settings = invocation.settings()
    found = measured(invocation, lambda w: bench_textbook(settings, plan, w), as_json=as_json, ends_early=True)
    if not as_json:
        figures = found.figures
        times = figures["end_to_end_ms"]
        click.echo(
            f"{figures['gold']:,} of {figures['sent']:,} complaints decided; Kafka to gold p50 {times['p50']:,} ms, "
            f"p99 {times['p99']:,} ms"
        )
        _print_costs(figures)


@bench.command()
@click.option(
    "--backlog",
    type=click.IntRange(min=1),
    default=100_000,
    show_default=True,
    metavar="ROWS",
    help="Number of complaints that wait on Kafka.",
)
@narratives_option
@json_option
@click.pass_obj
def drain(invocation: Invocation, /, backlog: int, narratives: float, as_json: bool) -> None:  # noqa: FBT001
    """Benchmark how fast a backlog on Kafka is scored.

    Reports the seconds until the last complaint is scored, and complaints per minute.

    \b
    Example:
        complaints bench drain --backlog 100000 --narratives 0.25
    """
    from benchmarks.bench import bench_drain

    plan = plan_of(backlog, narratives)
    settings = invocation.settings()
    found = measured(invocation, lambda w: bench_drain(settings, plan, w), as_json=as_json, ends_early=True)
    if not as_json:
        metrics = found.figures
        click.echo(
            f"{metrics['backlog']:,} complaints in {metrics['drained_s']} s, {metrics['rows_per_minute']:,} "
            f"per minute; the start before that took {metrics['start_s']} s"
        )


@bench.command()
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    metavar="ROWS",
    help="Number of complaints in the files.",
)
@narratives_option
@json_option
@click.pass_obj
def batch(invocation: Invocation, /, rows: int, narratives: float, as_json: bool) -> None:  # noqa: FBT001
    """Benchmark loading and scoring of generated files.

    Measures two steps: load and refine, then score and summarise.

    \b
    Example:
        complaints bench batch --rows 100000
    """
    from benchmarks.bench import bench_batch

    plan = plan_of(rows, narratives)
    found = measured(invocation, lambda watcher: bench_batch(invocation.settings(), plan, watcher), as_json=as_json)
    if not as_json:
        for step, seconds in found.figures["steps"].items():
            click.echo(f"{step:<20} {seconds:>8,.1f} s")
        click.echo(f"{found.figures['rows']:,} rows, {found.figures['rows_per_minute']:,} per minute")


@bench.command()
@click.option(
    "--sizes",
    default="10000,1000000,10000000",
    show_default=True,
    metavar="ROWS,…",
    help="Rows in gold, smallest first, separated by commas.",
)
@rate_option("Complaints to send per minute.")
@click.option(
    "--duration",
    type=click.FloatRange(min=0.01),
    default=2,
    show_default=True,
    metavar="MINUTES",
    help="How long to send per run, in minutes; the first half is warm-up.",
)
@json_option
@click.pass_obj
def growth(invocation: Invocation, /, sizes: str, rate: float, duration: float, as_json: bool) -> None:  # noqa: FBT001
    """Benchmark the stream with gold tables of several sizes.

    Each size is measured twice, once in ascending and once in descending order. Gold is filled with copies of the
    lake's own decisions, so run `complaints demo` or `complaints score` first.

    \b
    Example:
        complaints bench growth --sizes 10000,1000000
    """
    from benchmarks.bench import bench_growth

    wanted = _whole_numbers(sizes, "10000,1000000")
    plan = plan_of(round(rate * duration), 1.0, rate=rate, warm_up=duration * 30)
    found = measured(invocation, lambda w: bench_growth(invocation.settings(), plan, wanted, w), as_json=as_json)
    if not as_json:
        medians = found.series["p50_ms"]
        rows = [(query, *by_size.values(), found.figures["growth"][query]) for query, by_size in medians.items()]
        print_grid(("query", *(f"{size:,}" for size in wanted), "growth"), rows)


@bench.command()
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=10_000_000,
    show_default=True,
    metavar="ROWS",
    help="Number of decisions in gold.",
)
@json_option
@click.pass_obj
def queries(invocation: Invocation, /, rows: int, as_json: bool) -> None:  # noqa: FBT001
    """Benchmark the query behind each dashboard chart.

    Also writes the times as a Markdown table to <root>/reports. The rows are copies of the lake's own decisions, so run
    `complaints demo` or `complaints score` first.

    \b
    Example:
        complaints bench queries --rows 10000000
    """
    found = measured(invocation, lambda watcher: _bench_queries(invocation.settings(), rows, watcher), as_json=as_json)
    if not as_json:
        shown = ("dashboard", "chart", "rows", "first_ms", "warm_ms")
        print_grid(shown, [tuple(query[name] for name in shown) for query in found.series["queries"]])


@bench.command()
@click.option(
    "--times",
    default="1,10,100",
    show_default=True,
    metavar="FACTORS",
    help="Multiples of the lake's complaints to train on, smallest first, separated by commas.",
)
@json_option
@click.pass_obj
def train(invocation: Invocation, /, times: str, as_json: bool) -> None:  # noqa: FBT001
    """Benchmark the time and memory that training takes.

    Trains on several multiples of the lake's complaints, each in a process of its own.

    \b
    Example:
        complaints bench train --times 1,10
    """
    from benchmarks.training import bench_train

    wanted = _whole_numbers(times, "1,10,100")
    found = measured(invocation, lambda w: bench_train(invocation.settings(), wanted, w.notify), as_json=as_json)
    if not as_json:
        sizes = found.figures["sizes"].items()
        rows = [(f"{int(n):,}", s["seconds"], s["java_mb"], s["python_mb"], f"{s['auc_roc']:.3f}") for n, s in sizes]
        print_grid(("complaints", "seconds", "Java, MB", "Python, MB", "AUC-ROC"), rows)


@bench.command()
@click.argument("before", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("after", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_obj
def compare(_: Invocation, /, before: Path, after: Path, as_json: bool) -> None:  # noqa: FBT001
    """Compare two benchmark results, metric by metric.

    BEFORE and AFTER are JSON files that benchmarks wrote to <root>/reports.

    \b
    Example:
        complaints bench compare before.json after.json
    """
    from benchmarks.bench import stored_numbers

    old, new = stored_numbers(before), stored_numbers(after)
    shared = [name for name in old if name in new]
    if as_json:
        print_json({name: {"before": old[name], "after": new[name]} for name in shared})
        return
    rows = [
        (name, f"{old[name]:,g}", f"{new[name]:,g}", f"{new[name] / old[name]:.2f}" if old[name] else "")
        for name in shared
    ]
    print_grid(("metric", "before", "after", "ratio"), rows)


def _whole_numbers(text: str, example: str) -> list[int]:
    try:
        found = [int(number) for number in text.split(",")]
    except ValueError:
        found = []
    if min(found, default=0) < 1:
        msg = f"{text} is not a list of sizes: give whole numbers, smallest first, like {example}."
        raise ComplaintsError(msg)
    return found


def _bench_queries(settings: "Settings", rows: int, watcher: "Watcher") -> "Bench":
    from benchmarks.bench import FOLDER, Bench, machine
    from benchmarks.dashboard_queries import markdown, query_times
    from benchmarks.gold_rows import fill
    from lakehouse.spark.session import start_session
    from lakehouse.tables.lake import Lake
    from streaming.service.scratch_lake import lake_with_champion
    from streaming.tables import TABLES

    spark = start_session(settings)
    with lake_with_champion(settings, FOLDER) as empty:
        fill(Lake(spark, settings), Lake(spark, empty), rows, watcher.notify)
        watcher.notify("Running the queries.")
        times = query_times(empty, TABLES)
    by_chart = {time.chart: time.warm_ms for time in times}
    figures = {"machine": machine(), "rows": rows, "slowest_ms": max(by_chart.values()), "warm_ms": by_chart}
    return Bench("queries", figures, {"queries": [asdict(time) for time in times]}, markdown(times))


def _print_costs(metrics: Any) -> None:  # noqa: ANN401 - metrics as in the JSON
    click.echo(
        f"{metrics['cpu_s_per_1000']} processor seconds per 1,000 complaints; other processes on the machine used "
        f"{metrics['others_cores']} processors"
    )
    for query, times in metrics["queries"].items():
        parts = "   ".join(f"{part} {spent:,.0f} ms" for part, spent in times["parts_ms"].items())
        click.echo(f"{query:<10} {times['rows_per_batch']:>7,.0f} rows per batch   {parts}")

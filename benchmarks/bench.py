"""Benchmarks of the real pipeline, from broker to published decisions, on scratch lakes.

Each starts from an empty lake under ``<root>/bench`` with the champion of the root's registry, writes its metrics as
JSON and its batches as a chart under ``<root>/reports``, and leaves the root's own tables unchanged.
"""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.chart import chart
from benchmarks.gold_rows import nothing_to_multiply
from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.json_values import as_json
from lakehouse.settings import Settings
from lakehouse.spark.session import start_session
from lakehouse.tables.lake import Lake
from streaming.batch.backlog import score_backlog
from streaming.batch.load import load_files
from streaming.kafka.broker import Broker
from streaming.kafka.generator import FIRST_GENERATED_ID, Generator, Message, read_rows
from streaming.kafka.producer import Producer
from streaming.kafka.topics import ensure_topics
from streaming.runs.run import Plan, View, run
from streaming.service.live import LiveStream
from streaming.service.scratch_lake import lake_with_champion
from streaming.tables import TABLES

FOLDER = "bench"
TICK_SECONDS = 0.5
ROWS_PER_FILE = 50_000
RUN_IN_RATE = 10_000  # complaints per minute
FEW = 1_000  # decisions that are copied until the requested number is reached
ID_STEP = 10**10  # above every real complaint id
Say = Callable[[str], None]


@dataclass(frozen=True)
class Bench:
    """A benchmark result: its name, metrics, chart data, and optionally a Markdown table."""

    name: str
    figures: Mapping[str, Any]
    series: Mapping[str, Any]
    table: str | None = None

    def store(self, folder: Path) -> Path:
        """Write metrics and series as JSON, with chart and table next to it; return the path of the JSON file."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"bench-{self.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
        content = {"bench": self.name, "figures": self.figures, "series": self.series}
        path.write_text(as_json(content, indent=1) + "\n", encoding="utf-8")
        chart(content, path.with_suffix(".png"))
        if self.table:
            path.with_suffix(".md").write_text(self.table, encoding="utf-8")
        return path


@dataclass(frozen=True)
class Watcher:
    """Callbacks for progress, and the event that ends a benchmark early."""

    notify: Say
    on_view: Callable[[View], None]
    stop: threading.Event


def bench_stream(settings: Settings, plan: Plan, watcher: Watcher, run_in: float = 0.0) -> Bench:
    """Measure the stream at a rate: batch times by query and part, latencies, and CPU time.

    The lake has the plan's known complaints before. Then the same process streams for `run_in` minutes at
    `RUN_IN_RATE`, like an active stream whose rate then rises.
    """
    with lake_with_champion(settings, FOLDER) as empty:
        if plan.known:
            _fill_with_known(empty, plan, watcher)
        if run_in:
            watcher.notify(f"Running in for {run_in:g} minutes at {RUN_IN_RATE:,} per minute.")
            slow = replace(plan, rate_per_minute=RUN_IN_RATE, total=max(1, round(RUN_IN_RATE * run_in)))
            run(empty, slow, notify=watcher.notify, on_view=watcher.on_view, stop=watcher.stop)
        counted = [empty.folder / "tables", empty.folder / "checkpoints"]
        report = run(empty, plan, notify=watcher.notify, on_view=watcher.on_view, stop=watcher.stop, folders=counted)
    began = min((batch.started_at for batch in report.batches), default=datetime.now(UTC))
    sent = {"mix": asdict(plan.mix), "known": plan.known, "narratives": plan.narratives, "run_in_minutes": run_in}
    figures = {"machine": machine(), **sent, **report.as_json()}
    series = {
        "began_at": began,
        "warm_up_s": report.warm_up_s,
        "batches": [asdict(batch) for batch in sorted(report.batches, key=lambda batch: batch.started_at)],
        "vitals": [asdict(vitals) for vitals in report.vitals],
    }
    return Bench("stream", figures, series)


def bench_drain(settings: Settings, plan: Plan, watcher: Watcher) -> Bench:
    """Measure how long it takes to score a backlog that is on Kafka before the queries start."""
    with lake_with_champion(settings, FOLDER) as empty:
        with Broker(empty.folder / "broker") as broker:
            ensure_topics(empty.kafka, broker.bootstrap_servers)
            watcher.notify(f"Putting {plan.total:,} complaints on Kafka.")
            sent = Producer(empty.kafka, broker.bootstrap_servers).produce(
                generator_of(plan), rate_per_minute=float("inf"), total=plan.total, stop=watcher.stop
            )
        began = time.monotonic()
        with LiveStream(empty, watcher.notify) as stream:
            started, progress = time.monotonic(), []
            rows = stream.health.rows["score"]
            while rows < sent.sent and not watcher.stop.wait(TICK_SECONDS):
                stream.tick()
                rows = stream.health.rows["score"]
                progress.append({"seconds": time.monotonic() - started, "scored": rows})
                watcher.on_view(View("draining", rows, sent.sent, {}, {}))
            seconds = time.monotonic() - started
    figures = {"machine": machine(), "narratives": plan.narratives, "start_s": round(started - began, 1)}
    return Bench("drain", figures | drain_metrics(sent.sent, rows, seconds), {"progress": progress})


def drain_metrics(backlog: int, scored: int, seconds: float) -> dict[str, Any]:
    """Return the drain metrics: backlog size, seconds, and scored complaints per minute."""
    return {"backlog": backlog, "drained_s": round(seconds, 1), "rows_per_minute": round(60 * scored / seconds)}


def bench_batch(settings: Settings, plan: Plan, watcher: Watcher) -> Bench:
    """Measure batch processing of files instead of Kafka: load, refine and score a number of rows."""
    with lake_with_champion(settings, FOLDER) as empty:
        watcher.notify(f"Writing {plan.total:,} complaints to files.")
        files = _files(islice(generator_of(plan), plan.total), empty.folder / "input")
        steps: list[dict[str, Any]] = []
        start_session(empty)

        def timed(name: str, step: Callable[[], object]) -> None:
            watcher.notify(f"Timing: {name}.")
            began = time.monotonic()
            step()
            steps.append({"step": name, "seconds": round(time.monotonic() - began, 1)})

        timed("load and refine", lambda: load_files(empty, files, lambda *_: None))
        timed("score and summarise", lambda: score_backlog(empty, lambda *_: None))
    figures = {"machine": machine(), "narratives": plan.narratives, **batch_metrics(plan.total, steps)}
    return Bench("batch", figures, {"steps": steps})


def batch_metrics(rows: int, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the batch metrics: seconds by step, and rows per minute over all steps."""
    seconds = sum(step["seconds"] for step in steps)
    by_step = {step["step"]: step["seconds"] for step in steps}
    return {"rows": rows, "steps": by_step, "rows_per_minute": round(60 * rows / seconds)}


def bench_growth(settings: Settings, plan: Plan, sizes: Sequence[int], watcher: Watcher) -> Bench:
    """Measure batch times at several sizes of gold.decisions, filled with copies of the root's decisions.

    The JVM's compiler makes batches faster for many minutes. So the sizes are measured in ascending and then descending
    order, the first after twice the warm-up, and a size's median is the mean of its two runs.

    Raises:
        ComplaintsError: the root has no decisions.
    """
    source = Lake(start_session(settings), settings)  # a session of the root, which outlives the scratch lakes
    found: dict[int, list[Any]] = {size: [] for size in sizes}
    longer = replace(plan, total=2 * plan.total, warm_up_s=2 * (plan.warm_up_s or 0))
    for number, size in enumerate([*sizes, *reversed(sizes)]):
        found[size].append(_times_at_size(source, plan if number else longer, size, watcher, f"{FOLDER}-{number}"))
    figures = growth_metrics(sizes, found)
    return Bench("growth", {"machine": machine(), **figures}, {"p50_ms": figures["p50_ms"]})


def growth_metrics(sizes: Sequence[int], found: Mapping[int, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return each query's median per size, as the mean of its two runs, and its relative growth."""
    medians = {
        query: {size: mean(times[query]["p50_ms"] for times in found[size]) for size in sizes}
        for query in found[sizes[0]][0]
    }
    growth = {
        query: round(by[sizes[-1]] / by[sizes[0]] - 1, 3) if by[sizes[0]] else None for query, by in medians.items()
    }
    return {"sizes": list(sizes), "growth": growth, "p50_ms": medians, "queries": found}


def _times_at_size(source: Lake, plan: Plan, size: int, watcher: Watcher, folder: str) -> Mapping[str, Any]:
    """Measure query times with `size` decisions, in a new folder because Spark caches tables by path."""
    with lake_with_champion(source.settings, folder) as empty:
        watcher.notify(f"Filling gold.decisions with {size:,} rows.")
        _fill(source, Lake(source.spark, empty), size)
        watcher.notify(f"Streaming with {size:,} rows.")
        report = run(empty, plan, notify=lambda _: None, on_view=watcher.on_view, stop=watcher.stop)
    return dict(report.as_json()["queries"])


def generator_of(plan: Plan) -> Generator:
    """Return the generator of a benchmark's complaints, from ids above the samples' and the known ones."""
    return plan.generator(read_rows(plan.samples), FIRST_GENERATED_ID + plan.known, datetime.now(UTC).date())


def _fill_with_known(settings: Settings, plan: Plan, watcher: Watcher) -> None:
    """Load and score the first message of each known complaint, from files."""
    watcher.notify(f"Filling the lake with {plan.known:,} complaints.")
    files = _files(generator_of(plan).known_messages(), settings.folder / "input")
    start_session(settings)
    load_files(settings, files, lambda *_: None)
    score_backlog(settings, lambda *_: None)


def _files(messages: Iterator[Message], folder: Path) -> list[Path]:
    folder.mkdir()
    files: list[Path] = []
    while lines := [message.value for message in islice(messages, ROWS_PER_FILE)]:
        files.append(folder / f"part-{len(files):04d}.json")
        files[-1].write_bytes(b"\n".join(lines) + b"\n")
    return files


def _fill(source: Lake, target: Lake, size: int) -> None:
    """Copy decisions of one lake under new ids until the other lake has at least `size` rows."""
    few = source.read(DECISIONS).orderBy("complaint_id").limit(min(size, FEW)).localCheckpoint()
    if not (count := few.count()):
        raise nothing_to_multiply(source)
    target.create(TABLES)
    copies = target.spark.range(math.ceil(size / count)).withColumnRenamed("id", "copy")
    decided = few.withColumnRenamed("complaint_id", "of").crossJoin(copies)
    rows = decided.selectExpr("*", f"of + copy * {ID_STEP} AS complaint_id")
    files = rows.select(DECISIONS.column_names).repartition(max(1, size // ROWS_PER_FILE))
    # Like a compaction, this is not new data for the summarise query.
    files.write.format("delta").mode("append").option("dataChange", "false").save(str(target.path(DECISIONS)))


def stored_numbers(path: Path) -> dict[str, float]:
    """Return the numbers of a stored benchmark by their path, such as `queries.score.p50_ms`.

    Raises:
        ComplaintsError: the file is not a benchmark result.
    """
    try:
        return dict(_numbers(json.loads(path.read_text(encoding="utf-8"))["figures"]))
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path} is not a benchmark result: pass two files that `complaints bench` wrote."
        raise ComplaintsError(msg) from error


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        for key, inner in value.items():
            if key != "machine":
                yield from _numbers(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)


def machine() -> dict[str, Any]:
    """Return the properties of the machine that affect the metrics."""
    return {
        "processors": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "pyspark": version("pyspark"),
        "delta_spark": version("delta-spark"),
    }

"""Draw the chart of a benchmark from its stored result."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure

SECOND_MS = 1_000
COLORS = {
    "ingest": "#4c72b0",
    "refine": "#55a868",
    "merge": "#937860",
    "score": "#c44e52",
    "revise": "#da8bc3",
    "summarise": "#8172b2",
}


def chart(content: Mapping[str, Any], path: Path) -> None:
    """Draw a result in the format of `Bench.store` as a PNG."""
    draw = {
        "stream": _stream,
        "textbook": _stream,
        "drain": _drain,
        "batch": _batch,
        "growth": _growth,
        "train": _train,
        "queries": _queries,
    }
    figure = Figure(figsize=(11, 8), layout="constrained")
    draw[content["bench"]](figure, content)
    figure.savefig(path, dpi=110)


def _stream(figure: Figure, content: Mapping[str, Any]) -> None:
    series, figures = content["series"], content["figures"]
    began = _at(series["began_at"])

    def minutes(times: Iterable[str | datetime]) -> list[float]:
        return [(_at(time) - began).total_seconds() / 60 for time in times]

    times, memory, disk = figure.subplots(3, 1, sharex=True, height_ratios=(4, 1, 1))
    for query, color in COLORS.items():
        ours = [batch for batch in series["batches"] if batch["query"] == query]
        if not ours:
            continue  # the textbook pipeline has fewer queries
        at, took = minutes(batch["started_at"] for batch in ours), [batch["batch_ms"] for batch in ours]
        times.plot(at, took, ".", markersize=2, alpha=0.4, color=color)
        times.plot(*_medians(at, took), color=color, label=f"{query}, median per minute")
    times.axvspan(0, series["warm_up_s"] / 60, color="0.92", label="warm-up, excluded")
    times.axhline(SECOND_MS, color="0.4", linewidth=0.8, linestyle="--")
    times.set(yscale="log", ylabel="milliseconds per batch")
    times.set_title(f"{figures['rate_per_minute']:,.0f} complaints per minute", loc="left")
    times.legend(loc="upper right", ncols=5, fontsize=7)

    samples = series["vitals"]
    at = minutes(sample["at"] for sample in samples)
    memory.plot(at, [sample["heap_mb"] for sample in samples], color="0.6", linewidth=0.6, label="heap")
    memory.plot(at, [sample["resident_mb"] for sample in samples], color="0.2", label="resident")
    memory.set(ylabel="MB", ylim=(0, None))
    memory.legend(loc="lower right", ncols=2, fontsize=7)

    samples = [sample for sample in samples if sample["disk_mb"] is not None]
    at = minutes(sample["at"] for sample in samples)
    disk.plot(at, [sample["disk_mb"] for sample in samples], color="#4c72b0", label="tables and checkpoints, MB")
    disk.plot(at, [sample["files"] for sample in samples], color="#dd8452", label="number of files")
    disk.set(xlabel="minutes since the first batch", ylim=(0, None))
    disk.legend(loc="upper left", ncols=2, fontsize=7)


def _medians(minutes: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the middle of each minute and the median of its values."""
    by_minute: defaultdict[int, list[float]] = defaultdict(list)
    for minute, value in zip(minutes, values, strict=True):
        by_minute[int(minute)].append(value)
    return [minute + 0.5 for minute in by_minute], [median(values) for values in by_minute.values()]


def _drain(figure: Figure, content: Mapping[str, Any]) -> None:
    axes, progress = figure.subplots(), content["series"]["progress"]
    axes.plot([step["seconds"] for step in progress], [step["scored"] for step in progress])
    axes.set(xlabel="seconds since the queries started", ylabel="complaints scored", ylim=(0, None))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_title(f"A backlog of {content['figures']['backlog']:,} complaints", loc="left")


def _batch(figure: Figure, content: Mapping[str, Any]) -> None:
    axes, steps = figure.subplots(), content["series"]["steps"]
    axes.barh([step["step"] for step in steps], [step["seconds"] for step in steps], color="#4c72b0")
    axes.set(xlabel="seconds")
    axes.set_title(f"{content['figures']['rows']:,} rows from files to decisions", loc="left")


def _growth(figure: Figure, content: Mapping[str, Any]) -> None:
    axes = figure.subplots()
    for query, by_size in content["series"]["p50_ms"].items():
        sizes = [int(size) for size in by_size]
        axes.plot(sizes, list(by_size.values()), "o-", color=COLORS[query], label=query)
    axes.set(xscale="log", xlabel="rows in gold.decisions", ylabel="median milliseconds per batch", ylim=(0, None))
    axes.legend()


def _train(figure: Figure, content: Mapping[str, Any]) -> None:
    sizes = content["series"]["sizes"]
    rows = [int(size) for size in sizes]
    time, memory = figure.subplots(1, 2)
    time.plot(rows, [size["seconds"] for size in sizes.values()], "o-", color="#4c72b0")
    time.set(xscale="log", yscale="log", xlabel="complaints", ylabel="seconds")
    time.set_title("Time of training", loc="left")
    for kind, color in (("java", "#c44e52"), ("python", "#55a868")):
        memory.plot(rows, [size[f"{kind}_mb"] for size in sizes.values()], "o-", color=color, label=kind)
    memory.set(xscale="log", xlabel="complaints", ylabel="peak resident memory, MB", ylim=(0, None))
    memory.set_title("Memory of training", loc="left")
    memory.legend()


def _at(value: str | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _queries(figure: Figure, content: Mapping[str, Any]) -> None:
    queries = sorted(content["series"]["queries"], key=lambda query: query["warm_ms"])
    times = figure.subplots()
    times.barh([query["chart"] for query in queries], [query["warm_ms"] for query in queries], color="#4c72b0")
    times.axvline(SECOND_MS, color="0.4", linewidth=0.8, linestyle="--")
    times.tick_params(axis="y", labelsize=7)
    times.set(xlabel="milliseconds, warm")
    times.set_title(f"The query behind each chart at {content['figures']['rows']:,} decisions", loc="left")

"""Measure seconds and memory of training on multiples of the lake's rows, one process per size.

The rows are copies of the lake's complaints and outcomes under new ids. Each copied narrative gets the second half of
another one, because training removes duplicate narratives. Unlike in real data of that size, the numbers of companies
and distinct words don't grow.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import psutil
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from benchmarks.bench import FOLDER, ID_STEP, Bench, machine
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from lakehouse.spark.session import start_session
from lakehouse.tables.lake import Lake
from silver.tables import COMPLAINTS, NARRATIVES, OUTCOMES
from streaming.service.scratch_lake import empty_lake

SAMPLE_SECONDS = 0.2
KINDS = ("python", "java")


def bench_train(settings: Settings, times: Sequence[int], notify: Callable[[str], None]) -> Bench:
    """Train on multiples of the lake's complaints; nothing is registered in the lake itself.

    Args:
        settings: settings of a lake with complaints whose outcome is known.
        times: sizes, as multiples of the lake's rows.
        notify: called with a sentence for each step.

    Raises:
        ComplaintsError: the lake has no complaints, or a training failed.
    """
    lake = Lake(start_session(settings), settings)
    sizes: dict[str, dict[str, Any]] = {}
    for factor in times:
        with empty_lake(settings, FOLDER) as empty:
            notify(f"Creating {factor} times the rows.")
            rows = _fill(lake, Lake(lake.spark, empty), factor)
            notify(f"Training on {rows:,} complaints.")
            sizes[str(rows)] = {"times": factor, **_trained(empty)}
    figures = {"machine": machine(), "spark_memory": settings.spark.memory, "sizes": sizes}
    return Bench("train", figures, {"sizes": sizes})


def _fill(lake: Lake, target: Lake, factor: int) -> int:
    """Write `factor` copies of the rows into another lake; return the number of complaints."""
    target.create((COMPLAINTS, NARRATIVES, OUTCOMES))
    target.append(multiplied(lake.read(COMPLAINTS), factor), COMPLAINTS, "bench:complaints")
    target.append(_copies(lake.read(OUTCOMES), factor), OUTCOMES, "bench:outcomes")
    return target.read(COMPLAINTS).count()


def multiplied(complaints: DataFrame, factor: int) -> DataFrame:
    """Return `factor` copies; the nth copy of a narrative ends like the nth narrative after it.

    Reads `complaint_id` and `narrative`. The first copy is the unchanged complaints.
    """
    words = F.split("narrative", " ")
    half = (F.size(words) / 2).cast("int")
    with_text = complaints.where("narrative IS NOT NULL")
    place = F.row_number().over(Window.orderBy("complaint_id")) - 1
    halves = with_text.select("complaint_id", place.alias("_place"), F.slice(words, F.lit(1), half).alias("_head"))
    tails = with_text.select(place.alias("_wanted"), F.slice(words, half + 1, F.size(words)).alias("_tail"))
    copies = _numbered(complaints.join(halves, "complaint_id", "left"), factor)
    copies = copies.withColumn("_wanted", F.pmod(F.col("_place") + F.col("_copy"), F.lit(with_text.count())))
    narrative = F.array_join(F.concat("_head", "_tail"), " ")
    found = copies.join(F.broadcast(tails), "_wanted", "left").withColumn("narrative", narrative)
    return found.withColumn("complaint_id", _own_id()).select(complaints.columns)


def _copies(rows: DataFrame, factor: int) -> DataFrame:
    return _numbered(rows, factor).withColumn("complaint_id", _own_id()).select(rows.columns)


def _numbered(rows: DataFrame, factor: int) -> DataFrame:
    return rows.crossJoin(rows.sparkSession.range(factor).withColumnRenamed("id", "_copy"))


def _own_id() -> Column:
    return F.col("complaint_id") + F.col("_copy") * ID_STEP


def _trained(settings: Settings) -> dict[str, Any]:
    """Run `complaints train` on a lake; return its seconds and the peak memory of Python and Java in MB."""
    program = Path(sys.executable).with_name("complaints")
    words = [str(program), "--root", str(settings.folder), "--environment", settings.environment, "train", "--json"]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        peaks = _watched(words, out, err)
        out.seek(0)
        err.seek(0)
        output = out.read()
        if not output:
            last = (err.read().strip().splitlines() or ["no output"])[-1]
            msg = f"The training failed: {last.removeprefix('Error: ')}"
            raise ComplaintsError(msg)
    result = json.loads(output)
    metrics = result["metrics"]
    return {
        "seconds": result["seconds"],
        **{f"{kind}_mb": round(peaks[kind]) for kind in KINDS},
        "fitted_on": result["train_rows"],
        "judged_on": metrics["rows"],
        "auc_roc": metrics["auc_roc"],
    }


def _watched(words: Sequence[str], out: IO[str], err: IO[str]) -> dict[str, float]:
    peaks = dict.fromkeys(KINDS, 0.0)
    with subprocess.Popen(words, stdout=out, stderr=err) as training:
        while training.poll() is None:
            for kind, megabytes in _resident(training.pid).items():
                peaks[kind] = max(peaks[kind], megabytes)
            time.sleep(SAMPLE_SECONDS)
    return peaks


def _resident(pid: int) -> dict[str, float]:
    """Return the resident megabytes of a process and its children, by kind."""
    found = dict.fromkeys(KINDS, 0.0)
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            found["java" if one.name() == "java" else "python"] += one.memory_info().rss / 2**20
    except psutil.NoSuchProcess:  # the process has just ended
        pass
    return found

"""Training at several times the lake's rows: its seconds and its memory, each size in a process of its own.

The rows are the lake's own complaints and outcomes, over and over under ids of their own. Each narrative gets the
second half of another one, since training takes copies of one narrative out. Companies and words don't become more, as
they would in real data of that size.
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

LOOK_SECONDS = 0.2
KINDS = ("python", "java")


def bench_train(settings: Settings, times: Sequence[int], notify: Callable[[str], None]) -> Bench:
    """Train on so many times the lake's complaints; nothing is registered in the lake itself.

    Args:
        settings: of a lake with complaints whose outcome is known.
        times: sizes, as multiples of the lake's rows.
        notify: told what is under way.

    Raises:
        ComplaintsError: the lake has no complaints, or a training failed.
    """
    lake = Lake(start_session(settings), settings)
    sizes: dict[str, dict[str, Any]] = {}
    for factor in times:
        with empty_lake(settings, FOLDER) as empty:
            notify(f"Making {factor} times the rows.")
            rows = _fill(lake, Lake(lake.spark, empty), factor)
            notify(f"Training on {rows:,} complaints.")
            sizes[str(rows)] = {"times": factor, **_trained(empty)}
    figures = {"machine": machine(), "spark_memory": settings.spark.memory, "sizes": sizes}
    return Bench("train", figures, {"sizes": sizes})


def _fill(lake: Lake, target: Lake, factor: int) -> int:
    """Write so many times the lake's complaints and outcomes into another lake; gives how many complaints."""
    target.create((COMPLAINTS, NARRATIVES, OUTCOMES))
    target.append(multiplied(lake.read(COMPLAINTS), factor), COMPLAINTS, "bench:complaints")
    target.append(_copies(lake.read(OUTCOMES), factor), OUTCOMES, "bench:outcomes")
    return target.read(COMPLAINTS).count()


def multiplied(complaints: DataFrame, factor: int) -> DataFrame:
    """So many times the complaints (`complaint_id`, `narrative`); the nth copy of a narrative ends as the nth after it.

    The first copy is the complaints as they are.
    """
    words = F.split("narrative", " ")
    half = (F.size(words) / 2).cast("int")
    told = complaints.where("narrative IS NOT NULL")
    place = F.row_number().over(Window.orderBy("complaint_id")) - 1
    halves = told.select("complaint_id", place.alias("_place"), F.slice(words, F.lit(1), half).alias("_head"))
    tails = told.select(place.alias("_wanted"), F.slice(words, half + 1, F.size(words)).alias("_tail"))
    copies = _numbered(complaints.join(halves, "complaint_id", "left"), factor)
    copies = copies.withColumn("_wanted", F.pmod(F.col("_place") + F.col("_copy"), F.lit(told.count())))
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
    """Run `complaints train` on a lake, and watch it: seconds, and the most memory that Python and Java had, in MB."""
    program = Path(sys.executable).with_name("complaints")
    words = [str(program), "--root", str(settings.folder), "--environment", settings.environment, "train", "--json"]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        peaks = _watched(words, out, err)
        out.seek(0)
        err.seek(0)
        said = out.read()
        if not said:
            last = (err.read().strip().splitlines() or ["it said nothing"])[-1]
            msg = f"The training failed: {last.removeprefix('Error: ')}"
            raise ComplaintsError(msg)
    told = json.loads(said)
    figures = told["metrics"]
    return {
        "seconds": told["seconds"],
        **{f"{kind}_mb": round(peaks[kind]) for kind in KINDS},
        "fitted_on": told["train_rows"],
        "judged_on": figures["rows"],
        "auc_roc": figures["auc_roc"],
    }


def _watched(words: Sequence[str], out: IO[str], err: IO[str]) -> dict[str, float]:
    peaks = dict.fromkeys(KINDS, 0.0)
    with subprocess.Popen(words, stdout=out, stderr=err) as training:
        while training.poll() is None:
            for kind, megabytes in _resident(training.pid).items():
                peaks[kind] = max(peaks[kind], megabytes)
            time.sleep(LOOK_SECONDS)
    return peaks


def _resident(pid: int) -> dict[str, float]:
    """Resident megabytes of a process and all that it started, by what they are."""
    found = dict.fromkeys(KINDS, 0.0)
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            found["java" if one.name() == "java" else "python"] += one.memory_info().rss / 2**20
    except psutil.NoSuchProcess:  # it has just ended
        pass
    return found

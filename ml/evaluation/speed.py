"""Speed of each stage of an artifact: complaints per second through all stages up to it."""

import time
from dataclasses import dataclass

from pyspark.sql import DataFrame

from ml.features.pipeline import INPUTS
from ml.scoring.scoring import Model, scored


@dataclass(frozen=True)
class StageSpeed:
    """Complaints per second through all stages up to this one, and the milliseconds it adds per thousand."""

    stage: str
    rows_per_second: float
    added_ms_per_thousand: float


def stage_speeds(model: Model, rows: DataFrame, repeats: int = 2) -> list[StageSpeed]:
    """Time the artifact stage by stage, best of `repeats`; the last entry is scoring with influences."""
    cached = rows.persist()
    try:
        count = cached.count()
        steps = [("reading", cached.select(*INPUTS))]
        frame = steps[0][1]
        for stage in model.fitted.stages:
            frame = stage.transform(frame)
            steps.append((type(stage).__name__, frame))
        steps.append(("score with influences", cached.transform(scored(model))))
        seconds(steps[-1][1])  # warm-up: the JVM compiles the plan's code
        taken = [(name, min(seconds(step) for _ in range(repeats))) for name, step in steps]
    finally:
        cached.unpersist()
    before = [0.0, *(of_stage for _, of_stage in taken)]
    return [
        StageSpeed(name, count / of_stage, max(0.0, of_stage - earlier) / count * 1e6)
        for (name, of_stage), earlier in zip(taken, before, strict=False)
    ]


def seconds(rows: DataFrame) -> float:
    """Measure how long it takes to compute all rows and columns."""
    start = time.monotonic()
    rows.write.format("noop").mode("overwrite").save()
    return time.monotonic() - start

"""How fast each stage of an artifact is: complaints a second through the stages up to it."""

import time
from dataclasses import dataclass

from pyspark.sql import DataFrame

from ml.features.pipeline import INPUTS
from ml.scoring.scoring import Model, scored


@dataclass(frozen=True)
class StageSpeed:
    """Complaints a second through all stages up to this one, and the milliseconds a thousand that it adds."""

    stage: str
    rows_per_second: float
    added_ms_per_thousand: float


def stage_speeds(model: Model, rows: DataFrame, repeats: int = 2) -> list[StageSpeed]:
    """Time the artifact stage by stage, the best of some repeats each; the last line is scoring with influences."""
    kept = rows.persist()
    try:
        count = kept.count()
        steps = [("reading", kept.select(*INPUTS))]
        frame = steps[0][1]
        for stage in model.fitted.stages:
            frame = stage.transform(frame)
            steps.append((type(stage).__name__, frame))
        steps.append(("score with influences", kept.transform(scored(model))))
        seconds(steps[-1][1])  # the JVM compiles what it has not run yet
        taken = [(name, min(seconds(step) for _ in range(repeats))) for name, step in steps]
    finally:
        kept.unpersist()
    before = [0.0, *(of_stage for _, of_stage in taken)]
    return [
        StageSpeed(name, count / of_stage, max(0.0, of_stage - earlier) / count * 1e6)
        for (name, of_stage), earlier in zip(taken, before, strict=False)
    ]


def seconds(rows: DataFrame) -> float:
    """How long it takes to work all the rows out, every column of them."""
    began = time.monotonic()
    rows.write.format("noop").mode("overwrite").save()
    return time.monotonic() - began

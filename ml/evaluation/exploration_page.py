"""HTML page of an exploration: tables, histograms, and a correlation heat map."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ml.evaluation.exploration import NUMBERS, Exploration
from ml.evaluation.html_page import image, page, table


def written(exploration: Exploration, frame: pd.DataFrame, folder: Path) -> Path:
    """Write the page to the folder; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "explore.html"
    path.write_text(_page(exploration, frame), encoding="utf-8")
    return path


def _page(found: Exploration, frame: pd.DataFrame) -> str:
    rate = "" if found.base_rate is None else f", of which {found.base_rate:.1%} ended successfully"
    return page(
        "Complaints and their features",
        [
            f"<p>{found.rows:,} complaints, {found.known:,} with a known outcome{rate}.</p>",
            "<h2>Numbers</h2>",
            table(
                ("feature", "missing", "mean", "deviation", "minimum", "lower quartile", "median", "upper", "maximum"),
                [
                    (n.feature, n.missing, n.mean, n.deviation, n.minimum, *n.quartiles, n.maximum)
                    for n in found.numbers
                ],
            ),
            image(histograms(frame)),
            image(correlations(found)),
            "<h2>Categories</h2><p>Significant: the chi-square test rejects independence from the outcome.</p>",
            table(
                ("feature", "values", "missing", "most frequent", "p", "Cramér's V", "significant"),
                [
                    (
                        c.feature,
                        c.distinct,
                        c.missing,
                        _most(c.most_frequent),
                        c.p_value,
                        c.cramers_v,
                        "yes" if c.is_significant else "no",
                    )
                    for c in found.categories
                ],
            ),
            "<h2>Outcomes (never used as features)</h2>",
            table(("answer", "complaints"), list(found.outcomes["answers"].items())),
            table(("", "value"), [(k, str(v)) for k, v in found.outcomes.items() if k != "answers"]),
        ],
    )


def _most(value: tuple[str, float] | None) -> str | None:
    return None if value is None else f"{value[0]} ({value[1]:.0%})"


def histograms(frame: pd.DataFrame) -> Figure:
    """Plot histograms of the numeric features with more than two values; row counts on a log scale."""
    shown = [name for name in NUMBERS if frame[name].nunique() > 2]  # noqa: PLR2004
    figure = Figure(figsize=(9, 6), layout="constrained")
    grid = figure.subplots(3, 3, squeeze=False).flatten()
    for axes, name in zip(grid, shown, strict=False):
        axes.hist(frame[name].astype(float), bins=30, log=True)
        axes.set_title(name, fontsize=9)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    return figure


def correlations(found: Exploration) -> Figure:
    """Plot the correlations of the numeric features with each other and with the label."""
    names = list(found.correlations)
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.add_subplot()
    values = [[found.correlations[one][other] for other in names] for one in names]
    drawn = axes.imshow(values, cmap="RdBu", vmin=-1, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    figure.colorbar(drawn)
    axes.set_title("Correlations")
    return figure

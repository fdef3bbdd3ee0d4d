"""The model card of one version in Markdown: intended use, data, period, metrics and limits."""

from collections.abc import Mapping
from datetime import date

CARD = """\
# {name}

## What it is for
It predicts the probability that a consumer-finance complaint ends in a successful resolution (relief that the consumer
did not dispute), from what is known when the complaint arrives. It ranks work within an urgency set by rules. It must
not be used to decide on a complaint by itself, to lower an urgency, or to rate a consumer or a company.

## Data
{fit_rows:,} complaints for training, {calibrate_rows:,} later ones for calibration, and {test_rows:,} still later ones
for testing, received {first} to {last}; {unknown:,} without a known outcome were left out. The complaints are public
CFPB data: not a statistical sample, and not verified.

Test set from: {since}.

## Metrics on the test set
{metrics}

A complaint is predicted successful at a probability of {threshold:.2f} or more; the costs of a wrong prediction in the
settings determine this threshold.

## Limits
- A company that first appears after training has no history; a category not seen in training has no effect.
- Metrics by product, region and consumer group differ: `complaints evaluate` prints them, and small groups have wide
  intervals.
- What companies count as relief changed over the years, so a model of one era is less true of another.
{warnings}"""


def card(
    name: str,
    *,
    rows: Mapping[str, int],
    period: tuple[date, date],
    since: Mapping[str, date],
    metrics: Mapping[str, float],
    threshold: float,
    warnings: tuple[str, ...],
) -> str:
    """Render the model card.

    Args:
        name: name of the model.
        rows: `fit_rows`, `calibrate_rows`, `test_rows`, `unknown`.
        period: first and last day received.
        since: feed to the first day of its test set.
        metrics: metrics on the test set.
        threshold: probability at or above which a complaint is predicted successful.
        warnings: what weakens the model, one sentence each.
    """
    return CARD.format(
        name=name,
        **rows,
        first=period[0],
        last=period[1],
        since="; ".join(f"{feed} {day}" for feed, day in since.items()) or "a random share",
        metrics="\n".join(f"- {measure}: {value:.4g}" for measure, value in metrics.items()),
        threshold=threshold,
        warnings="".join(f"- {sentence}\n" for sentence in warnings),
    )

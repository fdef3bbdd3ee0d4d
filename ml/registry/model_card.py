"""The model card: of one version the data, period, figures, limits and intended use, as Markdown."""

from collections.abc import Mapping
from datetime import date

CARD = """\
# {name}

## What it is for
It gives the probability that a consumer-finance complaint ends in a successful resolution (relief that the consumer did
not dispute), from what is known when the complaint arrives. It orders work inside an urgency that rules have set. It is
not for deciding on a complaint by itself, for lowering an urgency, or for judging a consumer or a company.

## Data
{fit_rows:,} complaints to fit on, {calibrate_rows:,} later ones to calibrate on, {test_rows:,} later still to test on,
received {first} to {last}; {unknown:,} without a known outcome were left out. Public complaints of the CFPB: not a
statistical sample, and not verified.

Test part from: {since}.

## Figures on the test part
{metrics}

A complaint is called successful from a probability of {threshold:.2f} up, by the costs of a wrong call in the settings.

## Limits
- A company that was new after training has no history; a category never seen has no say.
- Figures by product, region and consumer group differ: `complaints evaluate` prints them, and small groups have wide
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
    """The card.

    Args:
        name: of the model.
        rows: `fit_rows`, `calibrate_rows`, `test_rows`, `unknown`.
        period: first and last day received.
        since: source to the first day of its test part.
        metrics: figures on the test part.
        threshold: from which a complaint is called successful.
        warnings: what weakens the model.
    """
    return CARD.format(
        name=name,
        **rows,
        first=period[0],
        last=period[1],
        since="; ".join(f"{source.rpartition(':')[2]} {day}" for source, day in since.items()) or "a random share",
        metrics="\n".join(f"- {measure}: {value:.4g}" for measure, value in metrics.items()),
        threshold=threshold,
        warnings="".join(f"- {sentence}\n" for sentence in warnings),
    )

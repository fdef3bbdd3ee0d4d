"""Self-contained HTML pages with tables and embedded images."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

from matplotlib.figure import Figure

STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;"
    "text-align:right}td:first-child,th:first-child{text-align:left}img{max-width:32rem;width:48%}"
)


def page(title: str, parts: Iterable[str]) -> str:
    """Build a page from HTML parts."""
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return "\n".join([head, f"<h1>{escape(title)}</h1>", *parts, "</html>"])


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Build an HTML table; floats get three decimals, and NaN is an empty cell."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{_shown(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _shown(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124 - true of NaN alone
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def spread(interval: tuple[float, float] | None) -> str | None:
    """Format an interval as text."""
    return None if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def image(figure: Figure) -> str:
    """Embed a figure in the page."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    title = figure.axes[0].get_title()
    encoded = base64.b64encode(data.getvalue()).decode()
    return f'<img alt="{escape(title)}" src="data:image/png;base64,{encoded}">'

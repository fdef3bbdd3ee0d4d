"""The data dictionary: the table declarations as Markdown."""

from collections.abc import Iterable

from lakehouse.tables.declaration import Table


def markdown(tables: Iterable[Table]) -> str:
    """Return a page with one section per table: grain, purpose, columns with types and meaning, constraints."""
    parts = ["# Data dictionary\n\nMade from the table declarations by `make docs`; change those, not this page."]
    parts += [_section(table) for table in tables]
    return "\n\n".join(parts) + "\n"


def _section(table: Table) -> str:
    lines = [f"## {table.name}", "", f"{table.comment} One row: {table.grain}.", ""]
    lines += ["| Column | Type | Meaning |", "|---|---|---|"]
    lines += [f"| {c.name} | {c.type} | {c.comment.replace('|', '/')} |" for c in table.columns]
    for view in table.views:
        lines += ["", f"View `{view.name}`: {view.comment}"]
    if table.constraints:
        lines += ["", *(f"- `{name}`: `{condition}`" for name, condition in table.constraints.items())]
    return "\n".join(lines)

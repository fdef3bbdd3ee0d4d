"""What Superset reads: the gold tables, outcomes, and views over them that name and derive what charts show.

The views in `views/*.sql` are Spark SQL, in which a call of one of `DEFINITIONS` stands for its SQL. A SQL warehouse
runs what `views` returns unchanged; DuckDB runs it with the macros defined here. Superset's server builds its DuckDB
file from what `described` returns.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gold.latency import latency_ms
from lakehouse.settings import Settings
from lakehouse.sql.duckdb_types import duckdb_type
from lakehouse.sql.query import restrictions, select_all
from lakehouse.tables.declaration import Table
from lakehouse.tables.stores import table_path

FOLDER = Path(__file__).resolve().parent / "views"
SCHEMA = "serving"
# Tables outside gold that views read, with the columns that they read; None for all. No payloads and no narratives.
BESIDE_GOLD: Mapping[str, frozenset[str] | None] = {
    "silver.outcomes": None,
    "silver.withdrawals": None,
    "silver.quarantine": frozenset({"ingested_at", "refined_at"}),
    "silver.expectations": None,
}
BESIDE_DUCKDB = 1 << 30  # bytes for Superset's own work on a result, and for single values, which DuckDB doesn't count

# Spark functions that have another name in DuckDB.
MACROS = {
    "unix_millis(t)": "epoch_ms(t)",
    "unix_date(d)": "(d - DATE '1970-01-01')",
    "try_element_at(l, i)": "list_extract(l, i)",
    "percentile(x, p)": "quantile_cont(x, p)",
}
# What several views derive in the same way: the SQL that a call with some columns stands for.
DEFINITIONS: Mapping[str, Callable[..., str]] = {
    "latency_ms": latency_ms,
    "origin": lambda is_synthetic: f"CASE WHEN {is_synthetic} THEN 'synthetic' ELSE 'received' END",
}
CALL = re.compile(rf"\b({'|'.join(DEFINITIONS)})\(([^()]*)\)")


@dataclass(frozen=True)
class View:
    """A view: its name, its purpose and grain, and its SELECT."""

    name: str
    comment: str
    sql: str


def views() -> tuple[View, ...]:
    """Every view of `views/*.sql`, by name, with the SQL of `DEFINITIONS` in it."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.sql")))


def _read(path: Path) -> View:
    lines = path.read_text(encoding="utf-8").strip().splitlines()
    comment = [line.removeprefix("--").strip() for line in lines if line.startswith("--")]
    sql = "\n".join(line for line in lines if not line.startswith("--"))
    return View(f"{SCHEMA}.{path.stem}", " ".join(comment), CALL.sub(_defined, sql))


def _defined(call: re.Match[str]) -> str:
    return DEFINITIONS[call[1]](*re.split(r",\s*", call[2]))


def served(tables: Iterable[Table]) -> list[Table]:
    """The tables that Superset reads: gold, and what the views need of silver."""
    return [
        replace(table, columns=tuple(column for column in table.columns if shown is None or column.name in shown))
        for table in tables
        if table.layer == "gold" or table.name in BESIDE_GOLD
        for shown in (BESIDE_GOLD.get(table.name),)
    ]


def described(settings: Settings, tables: Iterable[Table]) -> Mapping[str, Any]:
    """What Superset's server needs to know.

    The tables and views with folders and SQL, for a table that exists or doesn't yet; which of them a query may name
    (gold and the views; silver is only for the views); DuckDB's settings and the limits of a query.
    """
    below, limits = served(tables), settings.sql
    folders = {table.name: table_path(settings, table) for table in below}
    return {
        "tables": [
            {
                "name": table.name,
                "folder": str(folders[table.name]),
                "columns": table.column_names,
                "present": select_all(settings, table),
                "absent": _empty(table),
            }
            for table in below
        ],
        "macros": MACROS,
        "views": [
            *({"name": v.name, "sql": v.sql.format(table=table.name)} for table in below for v in table.views),
            *({"name": view.name, "sql": view.sql} for view in views()),
        ],
        "served": [
            *(name for table in below for name in table.queryable if name.startswith("gold.")),
            *(view.name for view in views()),
        ],
        "settings": restrictions(settings, folders.values(), settings.folder / "superset" / "spill"),
        "limits": {
            "seconds": limits.seconds,
            "running": limits.running,
            "waiting": limits.waiting,
            "bytes": 2 * limits.memory_bytes + BESIDE_DUCKDB,  # charts and SQL Lab each have a DuckDB
        },
    }


def _empty(table: Table) -> str:
    columns = ", ".join(f'CAST(NULL AS {duckdb_type(column.type)}) AS "{column.name}"' for column in table.columns)
    return f"SELECT {columns} WHERE false"

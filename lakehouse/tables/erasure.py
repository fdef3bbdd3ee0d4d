"""Permanent deletion of rows: from a table's current version, its older versions and every file on disk.

Delta keeps the files of older versions, and with deletion vectors even the deleted rows of the current one. So the rows
are deleted (`erase`), files with soft-deleted rows are rewritten, and every file that the current version does not need
is removed (`forget`). In between, a table that is declared append-only can be changed; `forget` protects it again.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from pyspark.sql import Column

from lakehouse.tables.declaration import Table
from lakehouse.tables.lake import USER_METADATA, Lake
from lakehouse.tables.maintenance import any_retention

APPEND_ONLY = "delta.appendOnly"


def erase(lake: Lake, table: Table, condition: Column, mark: str) -> int:
    """Delete the rows that meet the condition, in a commit with the mark; return their number."""
    count = lake.read(table).where(condition).count()
    if count:
        _allow_changes(lake, table, allowed=True)
        lake.spark.conf.set(USER_METADATA, mark)
        try:
            lake.delta(table).delete(condition)
        finally:
            lake.spark.conf.unset(USER_METADATA)
    return count


def forget(lake: Lake, tables: Iterable[Table]) -> None:
    """Remove every file that the tables' current versions don't need, whatever its age; this ends time travel.

    Nothing may read or write the tables meanwhile, and their streaming readers must have read them to the end.
    """
    with any_retention(lake), ThreadPoolExecutor(4) as pool:
        list(pool.map(partial(_forget, lake), tables))


def _forget(lake: Lake, table: Table) -> None:
    row = lake.delta(table).detail().select("tableFeatures").first()
    if row is not None and "deletionVectors" in (row.tableFeatures or ()):
        lake.spark.sql(f"REORG TABLE {lake.identifier(table)} APPLY (PURGE)")
    _allow_changes(lake, table, allowed=False)
    lake.delta(table).vacuum(0)


def _allow_changes(lake: Lake, table: Table, *, allowed: bool) -> None:
    """Lift or restore `delta.appendOnly` of a table that is declared append-only; other tables are left alone."""
    if table.properties.get(APPEND_ONLY) != "true":
        return
    wanted = "false" if allowed else "true"
    row = lake.delta(table).detail().select("properties").first()
    if row is None or row.properties.get(APPEND_ONLY) != wanted:
        lake.spark.sql(f"ALTER TABLE {lake.identifier(table)} SET TBLPROPERTIES ('{APPEND_ONLY}' = '{wanted}')")

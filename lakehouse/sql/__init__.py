"""SQL over the lake's tables: by DuckDB on one machine, by Spark on a cluster."""

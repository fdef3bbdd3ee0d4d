"""SQL over the lake's tables: with DuckDB locally, with Spark on a cluster."""

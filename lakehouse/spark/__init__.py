"""The Spark session, and the only modules that call what Spark and Delta keep private."""

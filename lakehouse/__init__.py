"""What every layer builds on: settings, the Spark session, table declarations, exactly-once commits, SQL."""

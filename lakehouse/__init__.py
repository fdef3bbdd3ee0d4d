"""What every layer stands on: settings, Spark session, table catalogue, exactly-once commits, the command line."""

"""What every layer builds on: settings, the Spark session, tables, rules, SQL, and the setup of a machine."""

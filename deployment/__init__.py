"""The bundle in a Databricks workspace, seen from a terminal: what it needs, what is deployed, what runs."""

"""Verify the lake's invariants by counting rows in files and Kafka."""

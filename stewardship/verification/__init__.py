"""Proves the lake's invariants by counting over files and Kafka."""

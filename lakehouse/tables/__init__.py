"""The lake's Delta tables: declarations, exactly-once writes, erasure, maintenance and locks."""

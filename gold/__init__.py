"""Turn scores into decisions and aggregates that people and machines read."""

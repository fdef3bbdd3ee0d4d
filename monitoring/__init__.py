"""Watch a stream from beside it: its lag, health and decisions, alerts, and what the challenger would have decided."""

"""A stream that runs for months: supervised queries, the champion, upkeep, the standby."""

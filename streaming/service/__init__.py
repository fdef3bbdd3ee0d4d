"""Long-running streaming service: supervised queries, champion updates, upkeep and a standby."""

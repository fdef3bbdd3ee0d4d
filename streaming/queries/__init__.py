"""The five streaming queries and their checkpoints: ingest, refine, merge, score, summarise."""

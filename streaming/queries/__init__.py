"""The four streaming queries and their checkpoints: ingest, refine, score, summarise."""

"""The same steps as batch jobs: load files, score the backlog, land arrivals, assess models."""

"""The same steps over files, run to an end: load, score what waits, watch the landing folder."""

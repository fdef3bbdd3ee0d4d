"""Benchmarks: the real pipeline, measured on a scratch lake."""

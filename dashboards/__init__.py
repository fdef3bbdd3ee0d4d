"""Superset over gold: its environment, its server, the views it reads, and the dashboards as code."""

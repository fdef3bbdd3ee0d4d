"""Monitoring of a running stream: lag, health, decisions, alerts, and shadow scores of the challenger."""

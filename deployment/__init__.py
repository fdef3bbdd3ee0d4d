"""The bundle in a Databricks workspace, seen from a terminal: what it needs, what is deployed, what runs.

The name of the package is that of the SDK's own; imports are absolute, so the two don't meet.
"""

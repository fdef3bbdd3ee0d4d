"""A bounded run and its report: every message accounted for, and the resource usage."""

"""A run with an end and its report: each message accounted for, and what it cost the machine."""

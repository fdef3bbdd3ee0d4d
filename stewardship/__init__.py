"""Data stewardship: trace a complaint, erase it, fix and replay quarantined rows, verify that nothing is lost."""

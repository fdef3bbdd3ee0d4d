"""Data stewardship: trace a complaint, erase it, replay quarantined rows, verify that nothing is lost."""

"""Parse, type, standardise, check, deduplicate and featurise: bronze rows become complaints, outcomes or quarantine."""

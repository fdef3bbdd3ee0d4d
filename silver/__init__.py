"""Parse, standardize, check and deduplicate bronze rows into complaints, outcomes and quarantine."""

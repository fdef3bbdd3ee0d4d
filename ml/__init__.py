"""Features, training, registry and scoring: predict a successful resolution from intake fields."""

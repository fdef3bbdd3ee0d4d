"""Text and feature pipeline, training, registry: predicts a successful resolution from what is known at intake."""

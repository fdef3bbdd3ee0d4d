"""The MLflow registry: the model's versions, aliases, files and cards."""

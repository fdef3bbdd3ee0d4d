"""The stream: Kafka, the six queries, the service that runs them, and the same steps over files."""

"""The stream: Kafka, the four queries, the service that runs them, and the same steps over files."""

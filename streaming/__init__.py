"""The stream: Kafka, the five queries, the service that runs them, and the same steps over files."""

"""Kafka: topics, the embedded broker, the producer, and the consumer group that exposes the lag."""

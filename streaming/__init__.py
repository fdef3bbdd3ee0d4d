"""Complaints on the move: topics, the embedded broker, the producer, the streaming queries and their monitoring."""

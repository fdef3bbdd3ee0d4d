"""How long a complaint takes from Kafka on, as SQL. Views, aggregates and reports all compute it with this."""


def since_kafka_ms(until: str, kafka_timestamp: str = "kafka_timestamp", *, millis: str = "unix_millis") -> str:
    """Return SQL for the milliseconds from a message's Kafka timestamp to a time; null for a complaint from a file.

    Args:
        until: the SQL of the time.
        kafka_timestamp: the SQL of the Kafka timestamp.
        millis: the function that turns a time into milliseconds: `unix_millis` in Spark, `epoch_ms` in DuckDB.
    """
    return f"({millis}({until}) - {millis}({kafka_timestamp}))"


def latency_ms(
    scored_at: str = "scored_at", kafka_timestamp: str = "kafka_timestamp", *, millis: str = "unix_millis"
) -> str:
    """Return SQL for a decision's latency: the milliseconds from Kafka to the start of the batch that scored it."""
    return since_kafka_ms(scored_at, kafka_timestamp, millis=millis)

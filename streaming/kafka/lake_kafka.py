"""Kafka for a command that needs it briefly: the brokers in the settings, or the embedded one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lakehouse.settings import Settings
from streaming.kafka.broker import Broker
from streaming.kafka.topics import ensure_topics


@contextmanager
def kafka_of(settings: Settings, notify: Callable[[str], None]) -> Iterator[str | None]:
    """Yield the brokers' address once both topics exist; starts and stops an embedded broker.

    Yields None for a lake that never had a broker. The caller holds the writer lock, so no stream runs on the lake.

    Raises:
        ComplaintsError: the brokers can't be reached.
    """
    folder = settings.folder / "broker"
    if settings.kafka.bootstrap_servers is not None:
        ensure_topics(settings.kafka, settings.kafka.bootstrap_servers)
        yield settings.kafka.bootstrap_servers
    elif settings.platform.has_broker and folder.is_dir():
        notify("Starting the embedded broker.")
        with Broker(folder) as broker:
            ensure_topics(settings.kafka, broker.bootstrap_servers)
            yield broker.bootstrap_servers
    else:
        yield None

"""Commit Spark's progress as consumer group offsets, so that every Kafka tool shows the lag.

Spark stores its offsets in the checkpoint and commits none. Here the end of each completed batch is committed to the
group `kafka.group`, in a separate thread: a broker that doesn't answer never delays a batch. Only the checkpoint
decides where a query resumes; the committed offsets are for people and tools.

Each commit also checks whether the topic is still the same, because Spark identifies it by name: in a recreated topic
it would skip as many messages as it had read from the old one.
"""

import logging
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, NoError
from kafka.structs import OffsetAndMetadata

from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings
from streaming.kafka.origin import Origin, topic_id_of
from streaming.kafka.topics import TIMEOUT_MS, client_config

RETRY_SECONDS = 5.0
WARN_AFTER = 3  # consecutive failures
STOP_SECONDS = 10.0

log = logging.getLogger(__name__)


class GroupCommitter:
    """Commits the latest offsets it receives, as a context manager that commits the last ones on leaving.

    Args:
        kafka: the settings; the group is `kafka.group`.
        bootstrap_servers: ``host:port``, several separated by commas.
    """

    def __init__(self, kafka: KafkaSettings, bootstrap_servers: str) -> None:
        self._kafka = kafka
        self._bootstrap_servers = bootstrap_servers
        self._waiting: dict[TopicPartition, OffsetAndMetadata] = {}
        self._changed = threading.Condition()
        self._is_closing = False
        self._origin: Origin | None = None
        self._found: str | None = None  # the topic id as of the last check
        self._thread = threading.Thread(target=self._run, name="commit-offsets", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(STOP_SECONDS)

    def watch(self, origin: Origin) -> None:
        """Set the topic that is read from now on."""
        self._origin, self._found = origin, None

    def is_made_again(self) -> bool:
        """Whether the topic has been recreated since `watch` was called."""
        return self._origin is not None and self._found not in (None, self._origin.topic_id)

    def take(self, progress: Mapping[str, Any]) -> None:
        """Queue the end offsets of a completed ingest batch from Spark's progress; ignores other queries."""
        if progress["name"] != "ingest":
            return
        offsets = {
            TopicPartition(topic, int(partition)): OffsetAndMetadata(int(offset), "", -1)
            for topic, partitions in progress["sources"][0]["endOffset"].items()
            for partition, offset in partitions.items()
        }
        with self._changed:
            self._waiting |= offsets
            self._changed.notify()

    def _run(self) -> None:
        admin: KafkaAdminClient | None = None
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                offsets, self._waiting = self._waiting, {}
                is_last = self._is_closing
            try:
                if offsets:
                    admin = admin or self._admin()
                    self._found = topic_id_of(admin, self._kafka.input.name)
                    if not self.is_made_again():
                        _check(admin.alter_group_offsets(self._kafka.group, offsets))
                    failures = 0
            except (KafkaError, OSError, ValueError, ComplaintsError) as error:  # the last: no token at the moment
                failures += 1
                if failures == WARN_AFTER:  # a new or restarted broker needs a few seconds to load its groups
                    log.warning("The offsets of the group %s can't be committed: %s", self._kafka.group, error)
                _close(admin)
                admin = None
                self._requeue(offsets)
            if is_last:
                _close(admin)
                return

    def _admin(self) -> KafkaAdminClient:
        config: dict[str, Any] = client_config(self._kafka, self._bootstrap_servers)
        return KafkaAdminClient(**config, request_timeout_ms=TIMEOUT_MS)

    def _requeue(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Requeue offsets that could not be committed, unless newer ones have arrived."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, RETRY_SECONDS)
            self._waiting = {**offsets, **self._waiting}


def _check(answers: Mapping[TopicPartition, type[KafkaError]]) -> None:
    """Raise the first error: the client returns one per partition instead of raising it."""
    for answer in answers.values():
        if answer is not NoError:
            raise answer


def _close(admin: KafkaAdminClient | None) -> None:
    if admin is not None:
        admin.close()

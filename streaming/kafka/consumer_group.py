"""Spark's progress as a consumer group's committed offsets, so that every Kafka tool shows the lag.

Spark keeps its offsets in the checkpoint and commits none. Here the end of each batch that is done is committed to the
group `kafka.group`, in a thread of its own: a broker that doesn't answer never holds up a batch. The checkpoint alone
decides where a query goes on; what is committed is for people and tools.

Each time it also asks whether the topic is still the one that is read, since Spark goes on by name: of a topic that was
made again it would leave out as many messages as it had read of the one before.
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

from lakehouse.settings import KafkaSettings
from streaming.kafka.origin import Origin, topic_id_of
from streaming.kafka.topics import TIMEOUT_MS, client_config

RETRY_SECONDS = 5.0
TELL_AFTER = 3  # failures in a row
STOP_SECONDS = 10.0

log = logging.getLogger(__name__)


class GroupCommitter:
    """Commits the newest offsets it was given, as a context manager that commits the last ones on leaving.

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
        self._found: str | None = None  # the topic's id, when last looked
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
        """The topic that is read from now on."""
        self._origin, self._found = origin, None

    def is_made_again(self) -> bool:
        """Whether the topic has been found to be another one than `watch` was told of."""
        return self._origin is not None and self._found not in (None, self._origin.topic_id)

    def take(self, progress: Mapping[str, Any]) -> None:
        """Take the end of a batch that is done, from what Spark says of it; only the query that reads Kafka has one."""
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
            except (KafkaError, OSError, ValueError) as error:
                failures += 1
                if failures == TELL_AFTER:  # a new broker, or one that was away, needs some seconds for its groups
                    log.warning("The offsets of the group %s can't be committed: %s", self._kafka.group, error)
                _close(admin)
                admin = None
                self._take_back(offsets)
            if is_last:
                _close(admin)
                return

    def _admin(self) -> KafkaAdminClient:
        config: dict[str, Any] = client_config(self._kafka, self._bootstrap_servers)
        return KafkaAdminClient(**config, request_timeout_ms=TIMEOUT_MS)

    def _take_back(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Keep what could not be committed for the next attempt, unless newer offsets came meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, RETRY_SECONDS)
            self._waiting = {**offsets, **self._waiting}


def _check(answers: Mapping[TopicPartition, type[KafkaError]]) -> None:
    """Raise the first refusal: the client gives one for each partition instead of raising it."""
    for answer in answers.values():
        if answer is not NoError:
            raise answer


def _close(admin: KafkaAdminClient | None) -> None:
    if admin is not None:
        admin.close()

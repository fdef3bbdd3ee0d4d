"""A live stream on one lake: broker, topics, the six supervised queries, and their health."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from pyspark.sql.streaming.query import StreamingQuery

from lakehouse.errors import ComplaintsError
from lakehouse.heap import check_heap
from lakehouse.settings import Settings
from lakehouse.tables.lake import open_lake, writer_lock
from lakehouse.tables.maintenance import checkpoint_log
from lakehouse.tables.writer_lock import WriterLock
from ml.registry.registry import Registry
from ml.scoring.scoring import Model
from streaming.kafka.address import check_listening
from streaming.kafka.broker import Broker
from streaming.kafka.consumer_group import GroupCommitter
from streaming.kafka.origin import resume_topic
from streaming.kafka.topics import ensure_topics, largest_message
from streaming.queries.checkpoints import dropped_messages
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.score import Publishing
from streaming.queries.supervisor import Gate, Supervisor
from streaming.service.champion import ActiveModels, ChampionWatcher
from streaming.service.health import HealthRecorder
from streaming.service.heartbeat import Heartbeat
from streaming.service.upkeep import LOG_MINUTES, ModelWatch, Upkeep, UpkeepTask, upkeep_tasks
from streaming.tables import TABLES

SWITCH_SECONDS = 0.0005
FIRST_SECONDS = 30.0  # how long the queries that no new complaint waits for are held back at most
IDLE = "Waiting for"  # a query's message when there are no new rows, or until its next trigger


@dataclass(frozen=True)
class Handover:
    """What a caller can prepare for a stream: the writer lock and a loaded model."""

    lock: WriterLock
    model: Model | None = None

    def model_of(self, registry: Registry, version: str) -> Model:
        """Return this version: the prepared model if it matches, otherwise loaded from the registry."""
        return self.model if self.model and self.model.version == version else registry.load(version)


class LiveStream:
    """Everything that runs while the stream runs, as a context manager.

    Entering starts the embedded broker (unless `kafka.bootstrap_servers` names one), creates the topics and tables,
    loads the champion and starts the queries; leaving finishes the running batches and stops everything.

    Args:
        settings: the run's settings.
        notify: called with a sentence on each event.
        handover: what the caller has prepared; the writer lock is released on leaving.
        watch: called every `alerts.minutes`, in the thread of the periodic tasks.

    Raises:
        ComplaintsError: on entering: another writer, no loadable champion, or no broker; names the remedy.
    """

    def __init__(
        self,
        settings: Settings,
        notify: Callable[[str], None],
        handover: Handover | None = None,
        watch: Callable[[], object] | None = None,
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._notify = notify
        self._handover = handover
        self._stack = ExitStack()
        self._losses: str | None = None
        self._held_back_until: float | None = None  # seconds of time.monotonic(); None: no query is held back
        self._heartbeat: Heartbeat | None = None  # on Databricks the job shows whether it runs

    def __enter__(self) -> Self:
        # A batch calls Spark about a hundred times, and would wait after each call for other threads of this process.
        sys.setswitchinterval(SWITCH_SECONDS)
        with ExitStack() as stack:
            ready = self._handover or Handover(writer_lock(self._settings))
            stack.callback(ready.lock.release)
            if self._settings.platform.tables_are_files:
                self._heartbeat = stack.enter_context(Heartbeat(self._settings.folder))
            registry = Registry(self._settings)
            version = registry.champion_version()
            registry.check(version)
            broker = self._embedded_broker(stack)
            with ThreadPoolExecutor(2) as pool:  # each takes seconds and they are independent
                servers = pool.submit(self._connect, broker)
                self._notify("Starting Spark.")
                self.lake = open_lake(ready.lock, self._settings)
                self._notify(f"Loading version {version} of the model {registry.name}.")
                model = pool.submit(ready.model_of, registry, version)
                self.lake.create(TABLES)
                self.bootstrap_servers = servers.result()
                self._committer = stack.enter_context(GroupCommitter(self._settings.kafka, self.bootstrap_servers))
                self.health = HealthRecorder(self.lake, [self._committer.take])
                self._start_queries(stack)
                self.active_models = ActiveModels(model.result())
            shadows = self._settings.streaming.shadow
            self._watcher = ChampionWatcher(registry, self.active_models, self._notify, shadows=shadows)
            if shadows:
                self._watcher.look()
                self._activate_new_models()
            self._start_scoring()
            self._held_back_until = time.monotonic() + FIRST_SECONDS
            if self._settings.platform.starts_spark and self._settings.monitoring.metrics_port is not None:
                self._serve_metrics(stack, self._settings.monitoring.metrics_port)
            stack.enter_context(Upkeep(self.lake, self._upkeep_tasks(registry), self._notify))
            self._watcher.start()
            stack.callback(self._watcher.stop)
            self._stack = stack.pop_all()
        return self

    def _embedded_broker(self, stack: ExitStack) -> Broker | None:
        """Return the embedded broker, to be started; None when the settings name one, which must listen."""
        if self._settings.kafka.bootstrap_servers is not None:
            check_listening(self._settings.kafka.bootstrap_servers)
            return None
        if not self._settings.platform.has_broker:
            msg = (
                "kafka.bootstrap_servers is not set, and there is no embedded broker on Databricks: "
                "name your brokers in the bundle's variable kafka_servers and deploy again."
            )
            raise ComplaintsError(msg)
        self._notify("Starting the embedded broker.")
        broker = Broker(self._settings.folder / "broker")
        stack.callback(broker.stop)
        return broker

    def _connect(self, broker: Broker | None) -> str:
        """Return the brokers' address once they answer and have the topics."""
        if broker is not None:
            broker.start()
        servers = broker.bootstrap_servers if broker else str(self._settings.kafka.bootstrap_servers)
        for sentence in ensure_topics(self._settings.kafka, servers):
            self._notify(sentence)
        kafka = self._settings.kafka
        if self._settings.platform.starts_spark:
            largest = largest_message(kafka, servers)
            check_heap(self._settings.spark.memory, largest, f"the topic {kafka.input.name}")
        return servers

    def _start_queries(self, stack: ExitStack) -> None:
        """Start the queries that need no model: complaints are ingested and refined while it loads."""
        self._notify("Starting the queries.")
        self._gate = Gate()
        self._queries = Queries(self.lake, self._gate)
        self._kafka = spark_kafka_options(self.lake, self.bootstrap_servers)
        self.supervisor = Supervisor(
            self._settings.streaming,
            self._gate,
            self._notify,
            on_end=lambda name, query: self.health.poll({name: query}),
        )
        stack.callback(self._stop)
        self.supervisor.start({"ingest": self._ingest, "refine": lambda: self._queries.refine(Trigger())})

    def _start_scoring(self) -> None:
        self._publishing = Publishing(self._settings.kafka.predictions.name, self._kafka)
        self.supervisor.start(
            {
                "score": lambda: self._queries.score(
                    self.active_models.champion, self._publishing, Trigger(), challenger=self.active_models.challenger
                )
            }
        )

    def _start_background(self) -> None:
        """Start the queries that no new complaint waits for.

        While Java runs most code for the first time they would delay the first decision by several seconds.
        """
        streaming = self._settings.streaming
        merging, revising, summarising = (
            Trigger(interval_ms=interval)
            for interval in (streaming.merge_interval_ms, streaming.revise_interval_ms, streaming.summarise_interval_ms)
        )
        self.supervisor.start(
            {
                "merge": lambda: self._queries.merge(merging),
                "revise": lambda: self._queries.revise(
                    self.active_models.champion, self._publishing, revising, self._gate.pause
                ),
                "summarise": lambda: self._queries.summarise(summarising),
            }
        )
        self._held_back_until = None

    def _serve_metrics(self, stack: ExitStack, port: int) -> None:
        from streaming.service.prometheus import Metrics, Watched  # noqa: PLC0415 - installed only locally

        watched = Watched(
            self._settings,
            self.bootstrap_servers,
            lambda: self.supervisor.restarts,
            lambda: (self.active_models.champion.name, self.active_models.champion.version),
        )
        metrics = stack.enter_context(Metrics(watched, port))
        self.health.listeners.append(metrics.take)
        self._notify(f"Serving metrics at {metrics.address}.")

    def _ingest(self) -> StreamingQuery:
        # Also on restarts: Kafka can drop messages while a query lags, and topics can be recreated.
        taken_up = resume_topic(self.lake, self.bootstrap_servers)
        if taken_up.told:
            self._notify(taken_up.told)
        self._committer.watch(taken_up.origin)
        self._report_losses(self.bootstrap_servers)
        return self._queries.ingest(self._kafka, Trigger(interval_ms=self._settings.streaming.ingest_interval_ms))

    def _report_losses(self, servers: str) -> None:
        sentence = dropped_messages(self._settings, servers) if self._settings.platform.tables_are_files else None
        if sentence and sentence != self._losses:
            self._notify(sentence)
        self._losses = sentence

    def _upkeep_tasks(self, registry: Registry) -> list[UpkeepTask]:
        streaming = self._settings.streaming
        watch = ModelWatch(self.lake, registry, self._notify)
        tasks = [UpkeepTask("The model could not be assessed", streaming.quality_minutes, watch)]
        if self._settings.platform.stream_maintains:
            tasks += upkeep_tasks(self.lake, streaming.upkeep_minutes)
            logs = partial(checkpoint_log, self.lake, TABLES)
            tasks.append(UpkeepTask("A table's log could not be checkpointed", LOG_MINUTES, logs))
        if self._watch and self._settings.alerts.minutes is not None:
            tasks.append(UpkeepTask("The alerts could not be evaluated", self._settings.alerts.minutes, self._watch))
        return tasks

    def _stop(self) -> None:
        if self._heartbeat:
            self._heartbeat.enter("stopping")
        self.supervisor.stop()
        self.health.poll(self.supervisor.queries)
        self.health.flush()

    def tick(self) -> None:
        """Check the queries and collect their progress; call it about every half second.

        Raises:
            ComplaintsError: a query failed too often.
        """
        if self._activate_new_models():
            self.supervisor.renew("score")
            if self._held_back_until is None:
                self.supervisor.renew("revise")
        if self._committer.is_made_again():
            self.supervisor.renew("ingest")
        self.supervisor.check()
        self.health.poll(self.supervisor.queries)
        if self._held_back_until and (self._is_warm() or time.monotonic() > self._held_back_until):
            self._start_background()
        if self._heartbeat and not self._held_back_until:  # it is "starting" until all queries run
            champion = self.active_models.champion
            self._heartbeat.beat(self.supervisor, self.health.latest, f"{champion.name} version {champion.version}")

    def _is_warm(self) -> bool:
        """Whether the first complaints are decided, or there are none."""
        running = self.supervisor.queries.values()
        return bool(self.health.rows["score"]) or all(query.status["message"].startswith(IDLE) for query in running)

    def _activate_new_models(self) -> bool:
        """Activate the models that the watcher has loaded; return whether they changed."""
        found = self._watcher.take()
        self.active_models = found or self.active_models
        return found is not None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

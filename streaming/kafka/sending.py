"""Sending in the background, while whoever sends looks after a stream."""

import threading
from collections.abc import Callable

from streaming.kafka.generator import Generator
from streaming.kafka.producer import Producer, ProduceReport, Progress

TICK_SECONDS = 0.5


class Sending:
    """Messages sent at a rate by a thread of its own.

    Args:
        producer: sends them.
        generator: makes them.
        rate_per_minute: messages a minute.
        total: messages in all.
        stop: ends the sending when it is set.
    """

    def __init__(
        self,
        producer: Producer,
        generator: Generator,
        *,
        rate_per_minute: float,
        total: int,
        stop: threading.Event,
    ) -> None:
        self._progress: Progress | None = None
        self._report: ProduceReport | None = None
        self._error: BaseException | None = None
        self._stop = stop

        def send() -> None:
            try:
                self._report = producer.produce(
                    generator,
                    rate_per_minute=rate_per_minute,
                    total=total,
                    stop=stop,
                    on_progress=lambda progress: setattr(self, "_progress", progress),
                )
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                self._error = error

        self._thread = threading.Thread(target=send, name="produce")

    @property
    def report(self) -> ProduceReport:
        """What was sent, once it ended."""
        if self._report is None:
            msg = "sending has not ended"
            raise RuntimeError(msg)
        return self._report

    def follow(self, tick: Callable[[int], None]) -> None:
        """Send until all is sent, and call `tick` with the messages sent so far every half second.

        Raises:
            Exception: whatever `tick` or the producer raised; the sending has ended by then.
        """
        self._thread.start()
        try:
            while self._thread.is_alive():
                tick(self._progress.sent if self._progress else 0)
                self._thread.join(TICK_SECONDS)
        finally:
            if self._thread.is_alive():
                self._stop.set()
                self._thread.join()
        if self._error is not None:
            raise self._error

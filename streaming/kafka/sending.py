"""Send messages in the background while the caller supervises a stream."""

import threading
from collections.abc import Callable

from streaming.kafka.generator import Generator
from streaming.kafka.producer import Producer, ProduceReport, Progress

TICK_SECONDS = 0.5


class Sending:
    """Sends messages at a fixed rate in a separate thread.

    Args:
        producer: sends them.
        generator: makes them.
        rate_per_minute: messages per minute.
        total: total number of messages.
        stop: ends the sending when set.
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
            except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
                self._error = error

        self._thread = threading.Thread(target=send, name="produce")

    @property
    def report(self) -> ProduceReport:
        """The result, once sending has ended."""
        if self._report is None:
            msg = "sending has not ended"
            raise RuntimeError(msg)
        return self._report

    def follow(self, tick: Callable[[int], None]) -> None:
        """Send all messages, and call `tick` every half second with the number sent so far.

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

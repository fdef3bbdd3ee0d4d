"""Output of long-running commands: sentences for people, or one JSON object per line for a log collector.

The context of an event (its query, its batch) is set around the work, as in Java's mapped diagnostic context, so code
that logs does not need to know it.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TextIO

from lakehouse.settings import Settings

PACKAGES = (
    *("lakehouse", "bronze", "silver", "gold", "ml", "streaming", "monitoring", "stewardship", "benchmarks"),
    *("dashboards", "deployment", "complaints"),
)
_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("about", default=MappingProxyType({}))

log = logging.getLogger(__name__)


@contextmanager
def about(**values: object) -> Iterator[None]:
    """Add these values to the context of everything that is logged inside the block."""
    token = _ABOUT.set({**_ABOUT.get(), **values})
    try:
        yield
    finally:
        _ABOUT.reset(token)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object: at, level, logger, message, error if any, and the context."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        event: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_ABOUT.get(),
        }
        if record.exc_info:
            event["error"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str, ensure_ascii=False)


def notifier(settings: Settings, stream: TextIO, say: Callable[[str], None]) -> Callable[[str], None]:
    """Return where status sentences go: `say`, or the JSON log when `monitoring.log_format` is json.

    Args:
        settings: the run's settings.
        stream: where the JSON lines are written.
        say: prints a sentence for people.
    """
    if settings.monitoring.log_format == "text":
        return say
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().handlers = [handler]
    for package in PACKAGES:
        logging.getLogger(package).setLevel(logging.INFO)
    return log.info

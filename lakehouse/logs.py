"""What a long-running command tells: sentences for people, or a JSON object a line for what collects logs.

What an event is about (its query, its batch) is set around the work, as in Java's mapped diagnostic context, so that
whoever tells something within need not know it.
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

PACKAGES = ("lakehouse", "bronze", "silver", "gold", "ml", "streaming", "dashboards")
_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("about", default=MappingProxyType({}))

log = logging.getLogger(__name__)


@contextmanager
def about(**values: object) -> Iterator[None]:
    """Whatever is logged within is about these, besides what it is about already."""
    token = _ABOUT.set({**_ABOUT.get(), **values})
    try:
        yield
    finally:
        _ABOUT.reset(token)


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: at, level, logger, message, error where there is one, and what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
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
    """Who is told in sentences what happens: `say`, or with `monitoring.log_format` json the log, a line each.

    Args:
        settings: the run's settings.
        stream: where the JSON lines go.
        say: for people.
    """
    if settings.monitoring.log_format == "text":
        return say
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().handlers = [handler]
    for package in PACKAGES:
        logging.getLogger(package).setLevel(logging.INFO)
    return log.info

"""Output of long-running commands, and the log file of a local run.

The output is sentences for people, or one JSON object per line for a log collector.

The context of an event (its query, its batch) is set around the work, as in Java's mapped diagnostic context, so code
that logs does not need to know it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

from lakehouse.json_values import as_json
from lakehouse.settings import Settings

PACKAGES = (
    *("lakehouse", "bronze", "silver", "gold", "ml", "streaming", "monitoring", "stewardship", "benchmarks"),
    *("dashboards", "deployment", "complaints"),
)
LOG_BYTES = 10 * 1024 * 1024
LOG_FILES = 3  # besides the current one
_TERMINAL = logging.lastResort or logging.NullHandler()  # prints warnings to standard error
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
        return as_json(event)


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
    root = logging.getLogger()
    root.handlers = [handler, *(one for one in root.handlers if isinstance(one, _LogFile))]
    for package in PACKAGES:
        logging.getLogger(package).handlers = []
        logging.getLogger(package).setLevel(logging.INFO)
    return log.info


class _LogFile(RotatingFileHandler):
    """A log file that is created, with its folder, by the first record: reading a lake must not leave anything."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()


def log_to_file(settings: Settings) -> None:
    """Send what libraries log, and Python's warnings, to the log file of a local run; the terminal is the command's.

    This project's own warnings go to both.

    Args:
        settings: `monitoring.log_level` and `monitoring.log_file`.
    """
    level = settings.monitoring.log_level.upper()
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _LogFile)]:
        root.removeHandler(handler)
        handler.close()
    root.addHandler(_LogFile(settings.monitoring.log_file or settings.folder / "logs" / "complaints.log"))
    # Below INFO libraries log whole requests, with the passwords in them: only this project's code may.
    root.setLevel(max(logging.getLevelName(level), logging.INFO))
    logging.captureWarnings(capture=True)
    for package in PACKAGES:
        logging.getLogger(package).setLevel(level)
        logging.getLogger(package).handlers = [_TERMINAL]

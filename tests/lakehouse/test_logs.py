"""A stream reports in sentences for people, or in one JSON object per line with query and batch."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from lakehouse.logs import PACKAGES, about, notifier
from lakehouse.settings import Settings


@pytest.fixture
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers = root.handlers
    yield
    root.handlers = handlers
    for package in PACKAGES:
        logging.getLogger(package).setLevel(logging.NOTSET)


def with_json(settings: Settings) -> Settings:
    return settings.model_copy(update={"monitoring": settings.monitoring.model_copy(update={"log_format": "json"})})


def lines(output: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_text_output_is_sentences(settings: Settings) -> None:
    sentences: list[str] = []
    notifier(settings, io.StringIO(), sentences.append)("The refine query is running again.")
    assert sentences == ["The refine query is running again."]


@pytest.mark.usefixtures("_restored_logging")
def test_each_json_event_has_its_context(settings: Settings) -> None:
    sentences: list[str] = []
    output = io.StringIO()
    notify = notifier(with_json(settings), output, sentences.append)
    with about(query="refine"), about(batch_id=7):
        notify('It says "no" twice.\nOn two lines.')
        logging.getLogger("streaming.anything").warning("slow by %d s", 3)
    notify("Stopping.")
    first, second, third = lines(output)
    assert sentences == []
    assert (first["message"], first["query"], first["batch_id"]) == ('It says "no" twice.\nOn two lines.', "refine", 7)
    assert (second["level"], second["message"], second["logger"]) == ("warning", "slow by 3 s", "streaming.anything")
    assert second["batch_id"] == 7
    assert third.keys() == {"at", "level", "logger", "message"}, "the context of the batch ended with it"


@pytest.mark.usefixtures("_restored_logging")
def test_a_json_error_has_its_traceback_in_one_line(settings: Settings) -> None:
    output = io.StringIO()
    notifier(with_json(settings), output, print)
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        logging.getLogger("streaming.anything").exception("it failed")
    (event,) = lines(output)
    assert "ZeroDivisionError" in str(event["error"])

"""A stream reports in sentences for people, or in one JSON object per line with query and batch."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.utils import logging_utils

from lakehouse.logs import PACKAGES, about, log_to_file, notifier
from lakehouse.settings import Settings
from ml.registry.versions import VersionReader


@pytest.fixture
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    for package in PACKAGES:
        logging.getLogger(package).handlers = []
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
def test_a_json_event_has_null_for_a_number_that_json_does_not_have(settings: Settings) -> None:
    output = io.StringIO()
    with about(rate=float("nan"), eta=float("inf")):
        notifier(with_json(settings), output, print)("Streaming.")
    (event,) = lines(output)
    assert (event["rate"], event["eta"]) == (None, None)


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


def with_log(settings: Settings, **values: object) -> Settings:
    return settings.model_copy(update={"monitoring": settings.monitoring.model_copy(update=values)})


@pytest.mark.usefixtures("_restored_logging")
def test_libraries_log_to_the_file_and_the_project_also_to_the_terminal(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    file = settings.folder / "logs" / "complaints.log"
    log_to_file(settings)
    log_to_file(settings)
    assert not file.exists(), "reading a lake leaves no file"
    logging.getLogger("some.library").warning("a library says something")
    logging.getLogger("some.library").info("not at this level")
    logging.getLogger("streaming.anything").warning("a batch is slow")
    warnings.showwarning("old argument", DeprecationWarning, "library.py", 7)
    written = file.read_text()
    assert [line.split(": ")[0].split()[2:] for line in written.splitlines() if line.startswith("20")] == [
        ["WARNING", "some.library"],
        ["WARNING", "streaming.anything"],
        ["WARNING", "py.warnings"],
    ]
    assert "DeprecationWarning: old argument" in written
    assert capsys.readouterr().err == "a batch is slow\n"


@pytest.mark.usefixtures("_restored_logging")
def test_the_log_has_the_level_and_the_file_of_the_settings(settings: Settings, tmp_path: Path) -> None:
    log_to_file(with_log(settings, log_level="info", log_file=tmp_path / "own" / "my.log"))
    logging.getLogger("some.library").info("read 7 rows")
    logging.getLogger("some.library").debug("not at this level")
    assert (tmp_path / "own" / "my.log").read_text().endswith("INFO some.library: read 7 rows\n")
    log_to_file(with_log(settings, log_level="error", log_file=tmp_path / "other.log"))
    logging.getLogger("some.library").warning("not at this level")
    assert not (tmp_path / "other.log").exists()


@pytest.mark.usefixtures("_restored_logging")
def test_only_the_project_logs_at_debug_because_libraries_log_passwords_there(settings: Settings) -> None:
    log_to_file(with_log(settings, log_level="debug"))
    logging.getLogger("kafka.conn").debug("Sending request with the password")
    logging.getLogger("kafka.conn").info("connected")
    logging.getLogger("streaming.anything").debug("a detail")
    written = (settings.folder / "logs" / "complaints.log").read_text().splitlines()
    assert [line.partition(",")[2].partition(" ")[2] for line in written] == [
        "INFO kafka.conn: connected",
        "DEBUG streaming.anything: a detail",
    ]


@pytest.mark.usefixtures("_restored_logging")
def test_json_lines_are_not_repeated_as_text(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    output = io.StringIO()
    log_to_file(settings)
    notifier(with_json(settings), output, print)
    logging.getLogger("streaming.anything").warning("a batch is slow")
    assert [event["message"] for event in lines(output)] == ["a batch is slow"]
    assert capsys.readouterr().err == ""
    assert "a batch is slow" in (settings.folder / "logs" / "complaints.log").read_text()


@pytest.mark.usefixtures("_restored_logging")
def test_mlflow_prints_nothing_by_itself(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_file(with_log(settings, log_level="info"))
    VersionReader(settings)
    logging_utils.MLFLOW_LOGGING_STREAM.enabled = True  # as MLflow does when it saves a model
    print("Created version '1' of model 'm'.", file=logging_utils.MLFLOW_LOGGING_STREAM)
    logging.getLogger("mlflow.spark").warning("a model is large")
    assert capsys.readouterr().err == ""
    written = (settings.folder / "logs" / "complaints.log").read_text().splitlines()
    assert [line.partition(" INFO ")[2] or line.partition(" WARNING ")[2] for line in written] == [
        "mlflow: Created version '1' of model 'm'.",
        "mlflow.spark: a model is large",
    ]

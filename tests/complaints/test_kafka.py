"""`complaints topics` and `produce` find the broker, describe its topics, and count the messages sent."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from complaints import kafka as commands
from streaming.kafka.address import check_listening
from streaming.kafka.broker import Broker
from streaming.kafka.producer import Progress

from .conftest import Run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a lake with a running embedded broker, as while a stream runs."""
    folder = tmp_path_factory.mktemp("kafka")
    with Broker(folder / "broker"):
        yield folder


def ends(run: Run, root: Path) -> int:
    """The number of messages in the input topic."""
    described = json.loads(run("--root", root, "topics", "describe", "--json").out)
    topic = next(topic for topic in described["topics"] if topic["name"] == "complaints-input")
    assert topic["messages"] == sum(offsets["end"] - offsets["begin"] for offsets in topic["offsets"])
    return int(topic["messages"])


def test_missing_topics_are_reported_created_and_compared_with_the_settings(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Broker(tmp_path / "broker"):
        lake = ("--root", tmp_path, "topics")
        assert "There is no topic complaints-input: `complaints topics create` creates it." in run(*lake, "list").out
        made = run(*lake, "create")
        assert made.out.splitlines()[0] == "The topic complaints-input was created with 2 partitions."
        assert run(*lake, "create").out == "Both topics are as declared.\n"
        rows = run(*lake, "list").out.splitlines()
        assert rows[1].split() == ["complaints-input", "2", "1", "604800000", "0"]
        monkeypatch.setenv("COMPLAINTS_KAFKA__INPUT__PARTITIONS", "4")
        described = run(*lake, "describe").out
        assert "exists with partitions 2 instead of 4; it was left as it is." in described
        unanswered = run(*lake, "delete", "complaints-predictions")
        assert unanswered.code == 1
        assert run(*lake, "list").out.splitlines()[2].startswith("complaints-predictions")
        deleted = run(*lake, "delete", "complaints-predictions", "--yes")
        assert deleted.out == "The topic complaints-predictions was deleted.\n"
        assert "There is no topic complaints-predictions" in run(*lake, "list").out


def test_without_a_broker_the_error_says_how_to_get_one(run: Run, tmp_path: Path) -> None:
    for words in (("topics", "list"), ("produce",)):
        answer = run("--root", tmp_path, *words)
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith("Error: kafka.bootstrap_servers is not set, and the embedded broker runs only")
        assert answer.err.count("\n") == 1


def test_a_stopped_embedded_broker_is_not_used(run: Run, tmp_path: Path) -> None:
    with Broker(tmp_path / "broker") as broker:
        port = int(broker.bootstrap_servers.rpartition(":")[2])
    answer = run("--root", tmp_path, "topics", "list")
    assert (answer.code, "none runs in" in answer.err) == (1, True)
    with Broker(tmp_path / "another", port=port):  # at the same address, but not this lake's
        answer = run("--root", tmp_path, "topics", "list")
        assert (answer.code, "none runs in" in answer.err) == (1, True)


@pytest.mark.parametrize(
    ("servers", "problem"),
    [
        ("127.0.0.1:9", "127.0.0.1:9: Connection refused"),
        ("localhost", "localhost: not of the form host:port"),
        ("a:b:c, [::1]:9", "a:b:c: not of the form host:port; [::1]:9: "),
    ],
)
def test_where_no_broker_listens_commands_fail_in_three_seconds(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, servers: str, problem: str
) -> None:
    monkeypatch.setenv("COMPLAINTS_KAFKA__BOOTSTRAP_SERVERS", servers)
    began = time.monotonic()
    answer = run("--root", tmp_path, "topics", "list")
    assert time.monotonic() - began < 3
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"Error: No Kafka broker listens at kafka.bootstrap_servers ({problem}")
    assert "set COMPLAINTS_KAFKA__BOOTSTRAP_SERVERS to the address of one that runs" in answer.err


def test_a_broker_that_starts_meanwhile_is_found() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        timer = threading.Timer(0.5, reserved.listen)
        timer.start()
        check_listening(f"127.0.0.1:9,127.0.0.1:{port}")
        timer.join()


def test_generated_complaints_are_sent_with_the_given_shares_and_counted(run: Run, root: Path) -> None:
    run("--root", root, "topics", "create")
    before = ends(run, root)
    shares = ("--malformed", "0.2", "--duplicates", "0.2", "--late", "0.2", "--updated", "0.2")
    answer = run("--root", root, "produce", "--rate", "60000", "--duration", "0.01", *shares, "--json")
    report = json.loads(answer.out)
    assert report.keys() == {"sent", "kinds", "failed", "rate_per_minute", "seconds", "latency_ms"}
    assert (answer.code, report["sent"], report["failed"]) == (0, 600, {})
    assert report["kinds"].keys() == {"new", "malformed", "duplicate", "late", "updated"}
    assert sum(report["kinds"].values()) == 600
    assert report["rate_per_minute"] == pytest.approx(60_000, rel=0.2)
    assert ends(run, root) - before == 600


def test_two_calls_generate_different_complaints() -> None:
    first, second = ({message.key for message in islice(commands._generator({}), 100)} for _ in range(2))
    assert len(first | second) == 200


def test_a_file_is_sent_unchanged(run: Run, root: Path, tmp_path: Path) -> None:
    run("--root", root, "topics", "create")
    before = ends(run, root)
    (tmp_path / "rows.json").write_text('{"complaint_id": "1", "product": "A"}\n{"complaint_id": "2"}\n{"complaint_id"')
    answer = run("--root", root, "produce", "--source", tmp_path / "rows.json", "--rate", "100000")
    assert answer.code == 0
    assert answer.out.startswith("3 messages acknowledged (3 new)")
    assert ends(run, root) - before == 3


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--source", "nothing.csv"), 1, "There is no file nothing.csv: --source is generated, samples, or an export"),
        (("--source", "samples", "--late", "0.1"), 2, "need --source generated: files are sent as they are"),
        (("--malformed", "0.9", "--late", "0.9"), 1, "Shares of messages must lie between 0 and 1"),
    ],
)
def test_an_invalid_source_or_share_is_rejected(
    run: Run, root: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    answer = run("--root", root, "produce", *words)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err


def test_ctrl_c_stops_the_producer_with_exact_counts(run: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("--root", root, "topics", "create")
    before = ends(run, root)
    shown = commands._Bar.update

    def interrupting(bar: commands._Bar, progress: Progress) -> None:
        shown(bar, progress)
        if threading.current_thread() is threading.main_thread() and progress.sent:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(commands._Bar, "update", interrupting)
    answer = run("--root", root, "produce", "--rate", "6000", "--duration", "60", "--json")
    report = json.loads(answer.out)
    assert answer.code == 0
    assert 0 < report["sent"] < 6000
    assert ends(run, root) - before == report["sent"]

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from lakehouse.errors import ComplaintsError
from lakehouse.setup.jars import PROJECT
from streaming.kafka.broker import Broker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for read-only tests, in a folder whose name contains characters that need escaping."""
    with Broker(tmp_path_factory.mktemp("broker") / "a, b=é") as broker:
        yield broker


def _create_topic(broker: Broker, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
    admin.close()


def _send(broker: Broker, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for value in values:
        producer.send(topic, value)
    producer.flush(30)
    producer.close()


def _receive(broker: Broker, topic: str, count: int) -> list[bytes]:
    """Return the first ``count`` messages, waiting up to 30 seconds for them."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, consumer_timeout_ms=30_000)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    values = [message.value for _, message in zip(range(count), consumer, strict=False)]
    consumer.close()
    return values


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until_gone(pid: int) -> bool:
    """Return whether a process that is not our child exited within 10 seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not _is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_messages_survive_kill_9_and_a_graceful_stop(tmp_path: Path) -> None:
    broker = Broker(tmp_path)
    broker.start()
    try:
        address = broker.bootstrap_servers
        _create_topic(broker, "t")
        _send(broker, "t", [b"one", b"two"])
        os.kill(broker.pid, signal.SIGKILL)
        os.waitid(os.P_PID, broker.pid, os.WEXITED | os.WNOWAIT)
        broker.start()
        assert broker.bootstrap_servers == address
        _send(broker, "t", [b"three"])
        broker.stop()
        with Broker(tmp_path) as restarted:
            assert _receive(restarted, "t", 3) == [b"one", b"two", b"three"]
    finally:
        broker.stop()


def test_it_listens_on_the_loopback_interface_only(broker: Broker) -> None:
    host, port = broker.bootstrap_servers.split(":")
    assert host == "127.0.0.1"
    with socket.socket() as other:
        assert other.connect_ex(("127.0.0.2", int(port))) != 0


def test_topics_are_not_created_automatically(broker: Broker) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    consumer = KafkaConsumer("never-created", bootstrap_servers=broker.bootstrap_servers, consumer_timeout_ms=500)
    assert list(consumer) == []
    consumer.close()
    assert "never-created" not in admin.list_topics()
    admin.close()


def test_a_second_broker_on_the_folder_is_refused(broker: Broker) -> None:
    with pytest.raises(ComplaintsError, match="Another broker is running on"):
        Broker(broker.folder).start()
    assert _is_alive(broker.pid)


def test_the_error_names_a_port_in_use(tmp_path: Path, broker: Broker) -> None:
    port = int(broker.bootstrap_servers.rpartition(":")[2])
    with pytest.raises(ComplaintsError, match=f"Port {port} is in use"):
        Broker(tmp_path, port=port).start()


def test_the_port_asked_for_and_extra_settings_are_used(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Broker(tmp_path, port=port, extra={"num.partitions": "3"}) as broker:
        assert broker.bootstrap_servers == f"127.0.0.1:{port}"
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        admin.create_topics({"t": {"num_partitions": -1, "replication_factor": -1}}, wait_for_metadata=True)
        assert len(admin.describe_topics(["t"])[0]["partitions"]) == 3
        admin.close()


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ComplaintsError, match=r"is not a broker's folder \(it holds thesis.txt\)"):
        Broker(tmp_path).start()
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ComplaintsError, match="cannot be the broker's folder"):
        Broker(file).start()


def test_the_error_names_a_setting_that_kafka_rejects(tmp_path: Path) -> None:
    broker = Broker(tmp_path, extra={"num.network.threads": "none"})
    with pytest.raises(ComplaintsError, match=r"could not be prepared(.|\n)*num\.network\.threads"):
        broker.start()
    with pytest.raises(ComplaintsError, match="is not running"):
        _ = broker.pid


def test_a_broker_that_fails_to_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "broker.properties").touch()
    (data / "meta.properties").write_text("version=1\ncluster.id=a-cluster\nnode.id=7\n")
    with pytest.raises(ComplaintsError, match=r"ended while it was starting(.|\n)*broker\.log says:(.|\n)*node"):
        Broker(tmp_path).start()


def test_the_broker_ends_when_the_program_that_started_it_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, streaming.kafka.broker as b\n"
        "broker = b.Broker(pathlib.Path(sys.argv[1]))\n"
        "broker.start()\n"
        "print(broker.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _is_alive(pid)
        parent.kill()
    assert _wait_until_gone(pid)

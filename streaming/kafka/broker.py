"""Embedded Kafka broker: one KRaft node as a child process, on loopback only, for laptops and tests.

Its folder holds its settings, log and data; a restart on the same folder keeps the messages.
"""

import base64
import logging
import random
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from filelock import FileLock, Timeout
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from lakehouse.errors import ComplaintsError
from lakehouse.setup.jars import broker_classpath
from lakehouse.setup.java import find_java

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 20
# Below the ephemeral port range, so that no outgoing connection takes a port before the broker binds it.
PORTS = range(20_000, 32_000)
_JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
# Ends the broker when the pipe from this process closes, however this process ended.
_WATCH = "cat >/dev/null; kill -KILL $0"
_LOG4J = """rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c: %m%n
"""

log = logging.getLogger(__name__)


class Broker:
    """A Kafka broker in a child process; as a context manager it starts on entry and stops on exit.

    Args:
        folder: its folder, created if missing; an existing one must be empty or a broker's.
        port: the port on 127.0.0.1; None picks a free one, which later starts of this object reuse.
        extra: broker settings that override the defaults, such as further listeners with their security.
        properties: Java system properties of the broker.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        extra: Mapping[str, str] = MappingProxyType({}),
        properties: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder.absolute()
        self._port = port
        self._extra = dict(extra)
        self._properties = [f"-D{name}={value}" for name, value in properties.items()]
        # A stream starts its broker in a worker thread and stops it in the main thread.
        self._lock = FileLock(self.folder / "broker.lock", thread_local=False)
        self._child: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients, as ``127.0.0.1:port``.

        Raises:
            ComplaintsError: the broker was never started, and has no port yet.
        """
        if self._port is None:
            msg = f"The broker of {self.folder} has no address before it is started."
            raise ComplaintsError(msg)
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """The process id of the running broker.

        Raises:
            ComplaintsError: it is not running.
        """
        if self._child is None or self._child.poll() is not None:
            msg = f"The broker of {self.folder} is not running."
            raise ComplaintsError(msg)
        return self._child.pid

    def __enter__(self) -> Self:
        """Start the broker."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop the broker."""
        self.stop()

    def start(self) -> None:
        """Start the broker and wait until it accepts requests: about 4 seconds, about 6 with a new folder.

        Raises:
            ComplaintsError: the folder is not a broker's, is in use by another broker, the port is taken, or the
                broker died or did not answer within 60 seconds (with the last lines of its log).
        """
        if self._child is not None and self._child.poll() is None:
            return
        self.kill()  # clean up after a broker that died by itself
        self._take_folder()
        try:
            self._take_port()
            cluster = self._format()
            self._spawn()
            self._wait_until_ready(cluster)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Stop the broker gracefully; it is killed after 20 seconds."""
        if self._child is not None:
            self._child.terminate()
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                log.warning("the broker did not stop within %d s and will be killed", STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill the broker at once, as in a crash; its messages stay."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None
        if self._watcher is not None:  # after the child is gone: earlier, its pid might be reused
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None
        self._lock.release()

    def _take_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            entries = {entry.name for entry in self.folder.iterdir()}
        except OSError as error:
            msg = f"{self.folder} cannot be the broker's folder ({error.strerror}): choose another one."
            raise ComplaintsError(msg) from error
        unexpected = sorted(entries - {"broker.lock"})
        if unexpected and "broker.properties" not in entries:
            msg = f"{self.folder} is not a broker's folder (it holds {unexpected[0]}): choose an empty or a new one."
            raise ComplaintsError(msg)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            msg = f"Another broker is running on {self.folder}: stop it, or choose another folder."
            raise ComplaintsError(msg) from error

    def _take_port(self) -> None:
        if self._port is None:
            self._port = _free_port()
        elif not _is_free(self._port):
            msg = f"Port {self._port} is in use: stop the program that uses it, or choose another port."
            raise ComplaintsError(msg)

    def _format(self) -> str:
        """Create the data folder if missing, and write the settings; return the cluster id."""
        controller = _free_port(but=self._port)
        self._write_settings("broker.properties", "data", controller)
        (self.folder / "log4j2.properties").write_text(_LOG4J, encoding="ascii")
        meta = self.folder / "data" / "meta.properties"
        if not meta.is_file():
            # In a temporary folder first, so that an interrupted run never looks like a formatted folder.
            shutil.rmtree(self.folder / "data.new", ignore_errors=True)
            self._write_settings("format.properties", "data.new", controller)
            self._run_format()
            (self.folder / "data.new").rename(self.folder / "data")
        lines = meta.read_text(encoding="utf-8").splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith("cluster.id="))

    def _write_settings(self, file: str, data: str, controller: int) -> None:
        settings = _settings(self._port, controller, data) | self._extra
        text = "".join(f"{key}={value}\n" for key, value in settings.items())
        (self.folder / file).write_text(text, encoding="utf-8")

    def _command(self, *arguments: str) -> list[str]:
        java = str(find_java().executable)
        properties = ["-Dlog4j2.configurationFile=log4j2.properties", *self._properties]
        return [java, *_JVM, *properties, "-cp", broker_classpath(), *arguments]

    def _run_format(self) -> None:
        command = self._command("kafka.tools.StorageTool", "format", "-t", _new_cluster_id(), "-c", "format.properties")
        with (self.folder / "broker.log").open("ab") as output:
            code = subprocess.run(command, cwd=self.folder, stdout=output, stderr=output, check=False).returncode
        if code:
            raise ComplaintsError(self._with_log("The broker's storage could not be prepared"))

    def _spawn(self) -> None:
        command = self._command("kafka.Kafka", "broker.properties")
        # Separate sessions: Ctrl-C in the terminal goes to this program, which stops the broker last.
        with (self.folder / "broker.log").open("ab") as output:
            self._child = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        watch = ["/bin/sh", "-c", _WATCH, str(self._child.pid)]
        self._watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)

    def _wait_until_ready(self, cluster: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._child is None or self._child.poll() is not None:
                raise ComplaintsError(self._with_log("The broker ended while it was starting"))
            found = self._cluster_at_port()
            if found == cluster:
                return
            if found is not None:
                msg = f"Port {self._port} was taken by another broker (cluster {found}): choose another port."
                raise ComplaintsError(msg)
            time.sleep(0.1)
        raise ComplaintsError(self._with_log(f"The broker did not answer within {START_SECONDS} s"))

    def _cluster_at_port(self) -> str | None:
        """Return the id of the cluster at the port if it has a running broker, otherwise None."""
        with socket.socket() as probe:
            if probe.connect_ex((HOST, self._port)):
                return None
        try:
            client = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
            try:
                answer = client.describe_cluster()
            finally:
                client.close()
        except KafkaError as error:
            log.debug("the broker does not answer yet: %s", error)
            return None
        return str(answer["cluster_id"]) if answer["brokers"] else None

    def _with_log(self, what: str) -> str:
        file = self.folder / "broker.log"
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        shown = [line for line in lines if line.strip() and not line.startswith("\tat ")]  # without the stack
        return "\n".join([f"{what}; the end of {file} says:", *shown[-5:]])


def _settings(port: int | None, controller: int, data: str) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,  # relative to the folder, whose path may contain any character, even a comma
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        # After a crash, the next start waits for the old broker's session to expire.
        "broker.session.timeout.ms": "2500",
        "broker.heartbeat.interval.ms": "500",
    }


def _new_cluster_id() -> str:
    """Return a random id in Kafka's format; one that starts with ``-`` would be parsed as an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _free_port(*, but: int | None = None) -> int:
    for port in random.sample(PORTS, 200):
        if port != but and _is_free(port):
            return port
    msg = f"No free port was found between {PORTS.start} and {PORTS.stop}: end programs that hold them."
    raise ComplaintsError(msg)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True

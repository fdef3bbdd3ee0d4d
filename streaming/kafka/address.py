"""Find the broker: the one in the settings, if something listens there, or the embedded one of a running stream."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings

TIMEOUT_MS = 5_000
LISTENING_SECONDS = 2.0
RETRY_SECONDS = 0.25  # a broker that is starting refuses connections


def broker_address(settings: Settings) -> str:
    """Return the bootstrap servers for clients: ``host:port``, several separated by commas.

    Raises:
        ComplaintsError: nothing listens where the settings name a broker; or they name none and no stream is running.
    """
    if settings.kafka.bootstrap_servers is not None:
        check_listening(settings.kafka.bootstrap_servers)
        return settings.kafka.bootstrap_servers
    address = _embedded(settings.folder / "broker")
    if address is None:
        msg = (
            "kafka.bootstrap_servers is not set, and the embedded broker runs only while `complaints stream` or "
            f"`complaints run` does, which prints its address; none runs in {settings.folder}: start one, "
            "or set COMPLAINTS_KAFKA__BOOTSTRAP_SERVERS."
        )
        raise ComplaintsError(msg)
    return address


def check_listening(bootstrap_servers: str) -> None:
    """Check within `LISTENING_SECONDS` that one of the servers accepts connections; a client would try for longer.

    Raises:
        ComplaintsError: none does; says why for each.
    """
    end = time.monotonic() + LISTENING_SECONDS
    servers = [server.strip() for server in bootstrap_servers.split(",")]
    with ThreadPoolExecutor(len(servers)) as pool:
        problems = list(pool.map(lambda server: _problem(server, end), servers))
    if all(problems):
        each = "; ".join(f"{server}: {problem}" for server, problem in zip(servers, problems, strict=True))
        msg = (
            f"No Kafka broker listens at kafka.bootstrap_servers ({each}): start it, or set "
            "COMPLAINTS_KAFKA__BOOTSTRAP_SERVERS to the address of one that runs."
        )
        raise ComplaintsError(msg)


def _problem(server: str, end: float) -> str | None:
    """Return why a server accepts no connection; None if it does."""
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal():
        return "not of the form host:port"
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=max(0.1, end - time.monotonic())):
                return None
        except (OSError, OverflowError) as error:
            if time.monotonic() + RETRY_SECONDS >= end or not isinstance(error, ConnectionRefusedError):
                return str(getattr(error, "strerror", None) or error)
            time.sleep(RETRY_SECONDS)


def _embedded(folder: Path) -> str | None:
    """Return the address of this folder's broker; None if nothing or another broker answers there.

    The files in the folder give the last address; the cluster id at that port shows whether the broker is running.
    """
    settings = _properties(folder / "broker.properties")
    cluster = _properties(folder / "data" / "meta.properties").get("cluster.id")
    address = settings.get("advertised.listeners", "").removeprefix("PLAINTEXT://")
    if not address or cluster is None:
        return None
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        if probe.connect_ex((host, int(port))):
            return None
    try:
        with closing(KafkaAdminClient(bootstrap_servers=address, bootstrap_timeout_ms=TIMEOUT_MS)) as admin:
            return address if admin.describe_cluster()["cluster_id"] == cluster else None
    except KafkaError:  # the port belongs to another program
        return None


def _properties(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    parts = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return {key: value for key, _, value in parts}

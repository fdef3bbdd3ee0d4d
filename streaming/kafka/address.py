"""Find the broker: the one in the settings, or the embedded one of a running stream."""

import socket
from contextlib import closing
from pathlib import Path

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings

TIMEOUT_MS = 5_000


def broker_address(settings: Settings) -> str:
    """Return the bootstrap servers for clients: ``host:port``, several separated by commas.

    Raises:
        ComplaintsError: the settings name no broker and no stream is running.
    """
    address = settings.kafka.bootstrap_servers or _embedded(settings.folder / "broker")
    if address is None:
        msg = (
            "kafka.bootstrap_servers is not set, and the embedded broker runs only while `complaints stream` or "
            f"`complaints run` does, which prints its address; none runs in {settings.folder}: start one, "
            "or set COMPLAINTS_KAFKA__BOOTSTRAP_SERVERS."
        )
        raise ComplaintsError(msg)
    return address


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

"""An external Kafka with TLS and SASL: every client of the project connects, or says why it can't."""

import datetime as dt
import ipaddress
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kafka import TopicPartition
from pydantic import SecretStr
from pyspark.sql import functions as F

from bronze.tables import COMPLAINTS as BRONZE
from gold.tables import DECISIONS
from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings, load_settings
from lakehouse.tables.lake import Lake
from monitoring.kafka_status import lag
from streaming.batch.load import follow
from streaming.kafka import topics
from streaming.kafka.broker import HOST, Broker, _free_port
from streaming.kafka.broker_check import check_broker
from streaming.kafka.consumer_group import GroupCommitter
from streaming.kafka.generator import Message
from streaming.kafka.producer import Producer
from streaming.kafka.topics import consumer_of, ensure_topics
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.score import Publishing, messages, publish
from streaming.tables import TABLES
from tests.stream_fixtures import wait_until

USER, PASSWORD = "triage", 'pass "word" \\ of many signs'
PEM = serialization.Encoding.PEM


def signed(subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a certificate for 127.0.0.1 that is valid today."""
    is_ca = subject == issuer
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
    )
    return builder.sign(by, hashes.SHA256()).public_bytes(PEM)


def certificates(folder: Path) -> tuple[Path, Path]:
    """Return the files of a CA certificate and of a broker's key with a certificate signed by that CA."""
    authority, broker = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_file, key_file = folder / "ca.pem", folder / "broker.pem"
    ca_file.write_bytes(signed("authority", authority, "authority", authority))
    private = broker.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_file.write_bytes(private + signed("broker", broker, "authority", authority))
    return ca_file, key_file


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings for a broker whose client listener requires TLS and a password."""
    folder = tmp_path_factory.mktemp("secure")
    ca_file, key_file = certificates(folder)
    inner, port, controller = (_free_port() for _ in range(3))
    listeners = f"PLAINTEXT://{HOST}:{inner},SASL_SSL://{HOST}:{port}"
    escaped = PASSWORD.replace("\\", "\\\\").replace('"', '\\"').replace("\\", "\\\\")  # for Java, then for its file
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    extra = {
        "listeners": f"{listeners},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": listeners,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(key_file),
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{module} required user_{USER}="{escaped}";',
    }
    settings = load_settings(root=folder / "lake")
    kafka = settings.kafka.model_copy(
        update={
            "bootstrap_servers": f"{HOST}:{port}",
            "security_protocol": "SASL_SSL",
            "username": USER,
            "password": SecretStr(PASSWORD),
            "ca_file": ca_file,
        }
    )
    with Broker(folder / "broker", port=inner, extra=extra):
        yield settings.model_copy(update={"kafka": kafka})


def test_messages_and_decisions_pass_through_tls_and_a_password(secure: Settings, lake: Lake) -> None:
    kafka, servers = secure.kafka, str(secure.kafka.bootstrap_servers)
    assert len(ensure_topics(kafka, servers)) == 2
    assert check_broker(secure).endswith("answers with 1 broker, both topics are there")
    sent = (Message(b"%d" % number, b"a complaint", "new") for number in range(20))
    report = Producer(kafka, servers).produce(sent, rate_per_minute=float("inf"), total=20, stop=threading.Event())
    assert (report.sent, report.failed) == (20, {})

    own = Lake(lake.spark, lake.settings.model_copy(update={"kafka": kafka}))
    own.create(TABLES)
    options = spark_kafka_options(own, servers)
    follow(Queries(own).ingest(options, Trigger(until_done=True)), lambda _: None)
    assert own.read(BRONZE).count() == 20
    row = {column.name: F.lit(None).cast(column.type) for column in DECISIONS.columns}
    decision = own.spark.range(1).select(
        *(value.alias(name) for name, value in (row | {"complaint_id": F.lit(7)}).items())
    )
    publish(messages(decision), Publishing(kafka.predictions.name, options))
    with consumer_of(kafka, servers) as consumer:
        consumer.subscribe([kafka.predictions.name])
        positions = [TopicPartition(kafka.predictions.name, number) for number in range(2)]
        assert sum(consumer.end_offsets(positions).values()) == 1

    with GroupCommitter(kafka, servers) as committer:
        ends = {kafka.input.name: {"0": 7, "1": 9}}
        committer.take({"name": "ingest", "sources": [{"endOffset": ends}]})
        group = kafka.group
        wait_until(
            lambda: [p.committed for p in lag(kafka, servers, group, kafka.input.name)] == [7, 9], 60, "a commit"
        )


@pytest.mark.parametrize(
    "wrong",
    [{"password": SecretStr("another")}, {"ca_file": None}, {"security_protocol": "SASL_PLAINTEXT"}],
    ids=["password", "authority", "protocol"],
)
def test_a_rejected_client_says_which_settings_to_check(
    secure: Settings, wrong: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "TIMEOUT_MS", 2_000)
    kafka = secure.kafka.model_copy(update=wrong)
    message = f"broker at {kafka.bootstrap_servers} can't be used .* security_protocol, username, password and ca_file"
    with pytest.raises(ComplaintsError, match=message):
        ensure_topics(kafka, str(kafka.bootstrap_servers))


def test_the_error_names_a_missing_ca_file(secure: Settings) -> None:
    kafka = secure.kafka.model_copy(update={"ca_file": Path("missing.pem")})
    with pytest.raises(ComplaintsError, match=r"kafka\.ca_file is missing\.pem, and there is no such file"):
        ensure_topics(kafka, str(kafka.bootstrap_servers))

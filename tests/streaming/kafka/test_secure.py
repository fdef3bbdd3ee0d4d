"""An external Kafka with TLS and each way to authenticate: every client connects, or says why it can't."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from bronze.tables import COMPLAINTS as BRONZE
from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings, Settings, load_settings
from lakehouse.tables.lake import Lake
from monitoring.kafka_status import lag
from streaming.batch.load import follow
from streaming.kafka import topics
from streaming.kafka.broker_check import check_broker
from streaming.kafka.consumer_group import GroupCommitter
from streaming.kafka.generator import Message
from streaming.kafka.oauth import Tokens
from streaming.kafka.producer import Producer
from streaming.kafka.topics import client_config, consumer_of, ensure_topics
from streaming.queries.definitions import Queries, Trigger, spark_kafka_options
from streaming.queries.score import Publishing, publish
from streaming.tables import TABLES
from tests.stream_fixtures import wait_until

from .secure_broker import PASSWORD, SCRAM, SECRETS, WAYS, SecureBroker


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    broker = SecureBroker(tmp_path_factory.mktemp("secure"), load_settings().kafka)
    with broker.running():
        yield broker


def with_kafka(settings: Settings, kafka: KafkaSettings) -> Settings:
    return settings.model_copy(update={"kafka": kafka})


def sent(kafka: KafkaSettings, count: int) -> int:
    """Create the topics and send messages; returns how many the broker acknowledged."""
    servers = str(kafka.bootstrap_servers)
    ensure_topics(kafka, servers)
    messages = (Message(b"%d" % number, b"a complaint", "new") for number in range(count))
    report = Producer(kafka, servers).produce(
        messages, rate_per_minute=float("inf"), total=count, stop=threading.Event()
    )
    assert report.failed == {}
    return report.sent


def publish_one(lake: Lake, kafka: KafkaSettings) -> None:
    decision = lake.spark.range(1).select(F.lit("7").alias("key"), F.lit("a decision").alias("value"))
    own = Lake(lake.spark, with_kafka(lake.settings, kafka))
    options = spark_kafka_options(own, str(kafka.bootstrap_servers))
    publish(decision, Publishing(kafka.predictions.name, options))


@pytest.mark.parametrize("way", WAYS)
def test_messages_reach_bronze_and_decisions_are_published(secure: SecureBroker, lake: Lake, way: str) -> None:
    kafka = secure.kafka(way)
    servers = str(kafka.bootstrap_servers)
    assert sent(kafka, 20) == 20
    own = Lake(lake.spark, with_kafka(lake.settings, kafka))
    own.create(TABLES)
    options = spark_kafka_options(own, servers)
    follow(Queries(own).ingest(options, Trigger(until_done=True)), lambda _: None)
    assert own.read(BRONZE).count() == 20
    publish_one(own, kafka)
    with consumer_of(kafka, servers, options={"auto_offset_reset": "earliest"}) as consumer:
        consumer.subscribe([kafka.predictions.name])
        assert next(iter(consumer)).value == b"a decision"


@pytest.mark.parametrize("way", ["PLAIN", "OAUTHBEARER"])
def test_checks_lag_and_commits_authenticate_too(secure: SecureBroker, settings: Settings, way: str) -> None:
    kafka = secure.kafka(way)
    servers = str(kafka.bootstrap_servers)
    ensure_topics(kafka, servers)
    assert check_broker(with_kafka(settings, kafka)).endswith("answers with 1 broker, both topics are there")
    with GroupCommitter(kafka, servers) as committer:
        ends = {kafka.input.name: {"0": 7, "1": 9}}
        committer.take({"name": "ingest", "sources": [{"endOffset": ends}]})
        topic = kafka.input.name
        wait_until(lambda: [p.committed for p in lag(kafka, servers, kafka.group, topic)] == [7, 9], "a commit")


def wrong(secure: SecureBroker, way: str) -> KafkaSettings:
    """Settings of a client that the broker, or the token endpoint, rejects."""
    kafka = secure.kafka(way)
    changes: dict[str, dict[str, Any]] = {
        "PLAIN": {"password": SecretStr("another-secret")},
        "SCRAM-SHA-256": {"password": SecretStr("another-secret")},
        "SCRAM-SHA-512": {"username": "nobody"},
        "OAUTHBEARER": {"oauth": kafka.oauth.model_copy(update={"client_secret": SecretStr("another-secret")})},
        "certificate": {"client_file": secure.stranger},
        "PLAIN and certificate": {"client_file": None},
    }
    return kafka.model_copy(update=changes[way])


def shows_no_secret(text: str) -> bool:
    return not any(secret in text for secret in (*SECRETS, "another-secret"))


# The settings that the sentence names, by way.
NAMED = {
    **dict.fromkeys(
        ("PLAIN", *SCRAM, "PLAIN and certificate"),
        "kafka.bootstrap_servers, security_protocol, sasl_mechanism, username, password, ca_file and client_file.",
    ),
    "certificate": "kafka.bootstrap_servers, security_protocol, ca_file and client_file.",
    "OAUTHBEARER": "gave no token (it answered 401): check kafka.oauth.token_url, client_id, scope and ca_file, and "
    "COMPLAINTS_KAFKA__OAUTH__CLIENT_SECRET.",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_rejected_client_says_which_settings_to_check(
    secure: SecureBroker, way: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(topics, "TIMEOUT_MS", 1_000)
    kafka = wrong(secure, way)
    with caplog.at_level(logging.INFO), pytest.raises(ComplaintsError) as error:
        ensure_topics(kafka, str(kafka.bootstrap_servers))
    assert str(error.value).endswith(NAMED[way])
    assert "\n" not in str(error.value)
    assert shows_no_secret(f"{error.value} {caplog.text} {kafka!r}")


@pytest.mark.parametrize(
    "change",
    [{"ca_file": None}, {"security_protocol": "SASL_PLAINTEXT"}, {"sasl_mechanism": "SCRAM-SHA-256"}],
    ids=["authority", "protocol", "mechanism"],
)
def test_a_wrong_connection_says_which_settings_to_check(
    secure: SecureBroker, change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "TIMEOUT_MS", 1_000)
    kafka = secure.kafka("PLAIN").model_copy(update=change)
    message = f"broker at {kafka.bootstrap_servers} can't be used .* sasl_mechanism, username(, | and )password"
    with pytest.raises(ComplaintsError, match=message):
        ensure_topics(kafka, str(kafka.bootstrap_servers))


@pytest.mark.parametrize("way", ["SCRAM-SHA-512", "OAUTHBEARER", "certificate"])
def test_a_query_that_kafka_rejects_says_what_to_check(secure: SecureBroker, lake: Lake, way: str) -> None:
    """As when a password changes while a stream runs: the clients of Python still have the right one here."""
    kafka = secure.kafka(way)
    sent(kafka, 1)
    own = Lake(lake.spark, with_kafka(lake.settings, kafka))
    own.create(TABLES)
    rejected = spark_kafka_options(Lake(lake.spark, with_kafka(lake.settings, wrong(secure, way))), "")
    options = rejected | {"kafka.bootstrap.servers": str(kafka.bootstrap_servers)}
    query = Queries(own).ingest(options, Trigger(until_done=True))
    with pytest.raises(ComplaintsError) as error:
        follow(query, lambda _: None)
    assert str(error.value).endswith("; check the security settings of kafka: `complaints setup` connects with them")
    assert "\n" not in str(error.value)
    assert shows_no_secret(f"{error.value} {query.exception()}")


@pytest.mark.usefixtures("whole_plans")
def test_neither_plans_nor_the_log_show_a_secret(secure: SecureBroker, lake: Lake, session_settings: Settings) -> None:
    spark: SparkSession = lake.spark
    for way in WAYS:
        options = spark_kafka_options(Lake(spark, with_kafka(lake.settings, secure.kafka(way))), "127.0.0.1:1")
        stream = spark.readStream.format("kafka").options(**options).option("subscribe", "any").load()
        plan = stream._jdf.queryExecution().toString()
        assert "kafka.security.protocol" in plan
        assert shows_no_secret(plan), way
    for way in ("SCRAM-SHA-256", "OAUTHBEARER"):
        kafka = secure.kafka(way)
        ensure_topics(kafka, str(kafka.bootstrap_servers))
        publish_one(lake, kafka)
    executions = spark._jsparkSession.sharedState().statusStore().executionsList()  # what the UI shows
    shown = "".join(executions.apply(number).physicalPlanDescription() for number in range(executions.size()))
    assert "kafka.sasl.jaas.config" in shown
    assert shows_no_secret(shown)
    log = session_settings.folder / "logs" / "spark.log"
    assert shows_no_secret(log.read_text(encoding="utf-8"))
    assert shows_no_secret(secure.log.read_text(encoding="utf-8"))


def test_clients_share_a_token_until_most_of_its_lifetime_has_passed(
    secure: SecureBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, before = Tokens(secure.kafka("OAUTHBEARER").oauth), secure.endpoint.requests
    first = tokens.token()
    assert tokens.token() == first
    assert secure.endpoint.requests == before + 1
    monkeypatch.setattr("streaming.kafka.oauth._USED_SHARE", 0.0)
    renewed = Tokens(secure.kafka("OAUTHBEARER").oauth)
    renewed.token()
    renewed.token()
    assert secure.endpoint.requests == before + 3


def test_a_token_endpoint_that_can_not_be_trusted_or_reached_is_named(secure: SecureBroker) -> None:
    kafka = secure.kafka("OAUTHBEARER")
    for change, reason in (
        ({"ca_file": None}, r"its certificate is not trusted"),
        ({"token_url": "https://127.0.0.1:1/token"}, r"\(Connection refused\)"),
        ({"scope": "another"}, r"\(it answered 401\)"),
    ):
        wrong_oauth = kafka.model_copy(update={"oauth": kafka.oauth.model_copy(update=change)})
        with pytest.raises(ComplaintsError, match=f"endpoint https.* gave no token .*{reason}.*check kafka.oauth"):
            client_config(wrong_oauth, "a:1")


def test_the_settings_of_a_client_do_not_show_its_secrets(secure: SecureBroker) -> None:
    for way in WAYS:
        assert shows_no_secret(f"{secure.kafka(way)!r} {secure.kafka(way).model_dump_json()}")
    config = client_config(secure.kafka("PLAIN"), "a:1, b:2")
    assert config["bootstrap_servers"] == ["a:1", "b:2"]
    assert config["sasl_plain_password"] == PASSWORD

"""What a protocol and a mechanism need is checked before any connection."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings, load_settings
from lakehouse.settings_sections import OAuthSettings
from streaming.kafka.security import check_settings, spark_options

from .secure_broker import Authority

PACKAGE = "kafkashaded.org.apache.kafka.common.security"


def kafka(**change: Any) -> KafkaSettings:  # noqa: ANN401
    return load_settings().kafka.model_copy(update=change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"security_protocol": "SASL_SSL", "username": "triage"},
            "is SASL_SSL with the mechanism PLAIN, which needs more settings: set COMPLAINTS_KAFKA__PASSWORD.",
        ),
        (
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-512"},
            "SCRAM-SHA-512, which needs more settings: set COMPLAINTS_KAFKA__USERNAME and COMPLAINTS_KAFKA__PASSWORD.",
        ),
        (
            {
                "security_protocol": "SASL_SSL",
                "sasl_mechanism": "OAUTHBEARER",
                "oauth": OAuthSettings(client_id="client", client_secret=SecretStr("")),
            },
            "set COMPLAINTS_KAFKA__OAUTH__TOKEN_URL and COMPLAINTS_KAFKA__OAUTH__CLIENT_SECRET.",
        ),
        ({"ca_file": Path("missing.pem")}, "kafka.ca_file is missing.pem, and there is no such file"),
        ({"ca_file": Path(__file__)}, "which can't be read as certificates in PEM"),
        (
            {"client_file": Path("missing.pem")},
            "kafka.client_file is set, and kafka.security_protocol is PLAINTEXT, without TLS: choose SSL or SASL_SSL",
        ),
        (
            {"client_file": Path("missing.pem"), "security_protocol": "SSL"},
            "kafka.client_file is missing.pem, and there is no such file",
        ),
        (
            {"client_file": Path(__file__), "security_protocol": "SSL"},
            "which can't be used: it must be readable and hold, in PEM, a private key and the certificate of that key.",
        ),
    ],
)
def test_a_missing_setting_or_file_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ComplaintsError) as error:
        check_settings(kafka(**change))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["encrypted", "another format"])
def test_a_key_that_java_can_not_read_is_refused_with_the_command_that_converts_it(tmp_path: Path, kind: str) -> None:
    issued = Authority(tmp_path, "authority").issue("client")
    content = issued.read_bytes()
    key = serialization.load_pem_private_key(content, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    form, encryption = {
        "encrypted": (serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"a password")),
        "another format": (serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()),
    }[kind]
    certificate = content[content.index(b"-----BEGIN CERTIFICATE") :]
    issued.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption) + certificate)
    with pytest.raises(ComplaintsError, match=r"encrypted or not in PKCS#8, .* `openssl pkcs8 -topk8 -nocrypt`"):
        check_settings(kafka(client_file=issued, security_protocol="SSL"))


def test_without_sasl_and_tls_nothing_is_needed() -> None:
    check_settings(kafka())
    assert spark_options(kafka(), PACKAGE) == {"kafka.security.protocol": "PLAINTEXT"}


def test_on_databricks_the_classes_of_each_mechanism_are_the_runtimes() -> None:
    login = {"security_protocol": "SASL_SSL", "username": 'a"b', "password": SecretStr("c\\d")}
    assert spark_options(kafka(**login, sasl_mechanism="SCRAM-SHA-256"), PACKAGE) == {
        "kafka.security.protocol": "SASL_SSL",
        "kafka.sasl.mechanism": "SCRAM-SHA-256",
        "kafka.sasl.jaas.config": f'{PACKAGE}.scram.ScramLoginModule required username="a\\"b" password="c\\\\d";',
    }
    oauth = OAuthSettings(token_url="https://id.example.org/token", client_id="me", client_secret=SecretStr("x"))
    assert spark_options(kafka(**login, sasl_mechanism="OAUTHBEARER", oauth=oauth), PACKAGE) == {
        "kafka.security.protocol": "SASL_SSL",
        "kafka.sasl.mechanism": "OAUTHBEARER",
        "kafka.sasl.oauthbearer.token.endpoint.url": "https://id.example.org/token",
        "kafka.sasl.login.callback.handler.class": f"{PACKAGE}.oauthbearer.OAuthBearerLoginCallbackHandler",
        "kafka.sasl.jaas.config": f'{PACKAGE}.oauthbearer.OAuthBearerLoginModule required clientId="me" '
        'clientSecret="x";',
    }

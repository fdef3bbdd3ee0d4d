"""How clients authenticate to the broker: the same settings as options of kafka-python and of Spark.

TLS and the SASL mechanism are independent of each other: any mechanism works over TLS, with or without a client
certificate. docs/kafka.md has the settings of each.
"""

import ssl
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from lakehouse.errors import ComplaintsError
from lakehouse.settings import KafkaSettings
from streaming.kafka.oauth import tokens

_LOGIN_MODULES = {
    "PLAIN": "plain.PlainLoginModule",
    "SCRAM-SHA-256": "scram.ScramLoginModule",
    "SCRAM-SHA-512": "scram.ScramLoginModule",
    "OAUTHBEARER": "oauthbearer.OAuthBearerLoginModule",
}
_TOKEN_REQUEST = "oauthbearer.OAuthBearerLoginCallbackHandler"  # noqa: S105 - a class
# Java 17 can't read what OpenSSL writes as an encrypted key; Python reads other formats too.
_PKCS8 = b"BEGIN PRIVATE KEY"


def python_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return kafka-python's options for TLS and SASL.

    With OAUTHBEARER the token is requested here, so that a rejected client is reported as such.

    Raises:
        ComplaintsError: a setting that the protocol or mechanism needs is missing, a file can't be used, or the token
            endpoint gives no token.
    """
    check_settings(kafka)
    options: dict[str, Any] = {"security_protocol": kafka.security_protocol}
    if kafka.ca_file is not None:
        options["ssl_cafile"] = str(kafka.ca_file)
    if kafka.client_file is not None:
        options["ssl_certfile"] = str(kafka.client_file)
    if not _uses_sasl(kafka):
        return options
    options["sasl_mechanism"] = kafka.sasl_mechanism
    if kafka.sasl_mechanism == "OAUTHBEARER":
        options["sasl_oauth_token_provider"] = tokens(kafka.oauth)
        tokens(kafka.oauth).token()
        return options
    name, password = _login(kafka)
    if kafka.sasl_mechanism != "PLAIN":  # RFC 5802, section 5.1; kafka-python sends the name as it is
        name = name.replace("=", "=3D").replace(",", "=2C")
    return options | {"sasl_plain_username": name, "sasl_plain_password": password}


def spark_options(kafka: KafkaSettings, package: str) -> dict[str, str]:
    """Return Spark's options for TLS and SASL, with the prefix ``kafka.``.

    Args:
        kafka: the settings.
        package: the package of Kafka's security classes (`lakehouse.spark.session.kafka_security_package`).

    Raises:
        ComplaintsError: a setting that the protocol or mechanism needs is missing, or a file can't be used.
    """
    check_settings(kafka)
    options = {"kafka.security.protocol": str(kafka.security_protocol)}
    if kafka.ca_file is not None:
        options |= {"kafka.ssl.truststore.type": "PEM", "kafka.ssl.truststore.location": str(kafka.ca_file)}
    if kafka.client_file is not None:
        options |= {"kafka.ssl.keystore.type": "PEM", "kafka.ssl.keystore.location": str(kafka.client_file)}
    if not _uses_sasl(kafka):
        return options
    options["kafka.sasl.mechanism"] = kafka.sasl_mechanism
    if kafka.sasl_mechanism == "OAUTHBEARER":
        options["kafka.sasl.login.callback.handler.class"] = f"{package}.{_TOKEN_REQUEST}"
        options["kafka.sasl.oauthbearer.token.endpoint.url"] = str(kafka.oauth.token_url)
        given = _token_login(kafka)
    else:
        given = dict(zip(("username", "password"), _login(kafka), strict=True))
    pairs = "".join(f" {name}={_quoted(value)}" for name, value in given.items())
    options["kafka.sasl.jaas.config"] = f"{package}.{_LOGIN_MODULES[kafka.sasl_mechanism]} required{pairs};"
    return options


def settings_to_check(kafka: KafkaSettings) -> str:
    """Return the settings that decide whether this client may connect, by name, as the end of a sentence."""
    names = ["bootstrap_servers", "security_protocol"]
    if _uses_sasl(kafka):
        by_token = kafka.sasl_mechanism == "OAUTHBEARER"
        names += ["sasl_mechanism", *(("oauth",) if by_token else ("username", "password"))]
    names += ["ca_file", "client_file"] if _uses_tls(kafka) else []
    return f"kafka.{', '.join(names[:-1])} and {names[-1]}"


def check_settings(kafka: KafkaSettings) -> None:
    """Check that what the protocol and the mechanism need is there, without a connection.

    Raises:
        ComplaintsError: a setting is missing, or a file is missing or isn't what it should be.
    """
    if kafka.ca_file is not None:
        _check_authorities(kafka.ca_file, "kafka.ca_file")
    if kafka.client_file is not None:
        _check_client_file(kafka, kafka.client_file)
    if not _uses_sasl(kafka):
        return
    oauth = kafka.oauth
    if kafka.sasl_mechanism == "OAUTHBEARER":
        needed = {"oauth.token_url": oauth.token_url, "oauth.client_id": oauth.client_id}
        needed["oauth.client_secret"] = _revealed(oauth.client_secret)
        if oauth.ca_file is not None:
            _check_authorities(oauth.ca_file, "kafka.oauth.ca_file")
    else:
        needed = {"username": kafka.username, "password": _revealed(kafka.password)}
    missing = [f"COMPLAINTS_KAFKA__{name.upper().replace('.', '__')}" for name, value in needed.items() if not value]
    if missing:
        msg = (
            f"kafka.security_protocol is {kafka.security_protocol} with the mechanism {kafka.sasl_mechanism}, "
            f"which needs more settings: set {' and '.join(missing)}."
        )
        raise ComplaintsError(msg)


def _check_authorities(file: Path, setting: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except FileNotFoundError as error:
        msg = f"{setting} is {file}, and there is no such file: name one with certificates in PEM, or none."
        raise ComplaintsError(msg) from error
    except OSError as error:  # an SSLError too
        msg = f"{setting} is {file}, which can't be read as certificates in PEM: name one that can, or none."
        raise ComplaintsError(msg) from error


def _check_client_file(kafka: KafkaSettings, file: Path) -> None:
    if not _uses_tls(kafka):
        msg = f"kafka.client_file is set, and kafka.security_protocol is {kafka.security_protocol}, without TLS: "
        raise ComplaintsError(msg + "choose SSL or SASL_SSL, or set no client_file.")
    try:
        content = file.read_bytes()
        if b"ENCRYPTED" not in content:  # OpenSSL would ask for the password on the terminal
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(file)
    except FileNotFoundError as error:
        msg = f"kafka.client_file is {file}, and there is no such file: name one with a key and certificates in PEM."
        raise ComplaintsError(msg) from error
    except OSError as error:  # an SSLError too
        msg = (
            f"kafka.client_file is {file}, which can't be used: it must be readable and hold, in PEM, a private key "
            "and the certificate of that key."
        )
        raise ComplaintsError(msg) from error
    if _PKCS8 not in content:
        msg = (
            f"kafka.client_file is {file}, whose private key is encrypted or not in PKCS#8, so Java can't read it: "
            "convert it with `openssl pkcs8 -topk8 -nocrypt`, and let only its owner read it."
        )
        raise ComplaintsError(msg)


def _uses_sasl(kafka: KafkaSettings) -> bool:
    return kafka.security_protocol.startswith("SASL")


def _uses_tls(kafka: KafkaSettings) -> bool:
    return kafka.security_protocol.endswith("SSL")


def _login(kafka: KafkaSettings) -> tuple[str, str]:
    return kafka.username or "", _revealed(kafka.password)


def _token_login(kafka: KafkaSettings) -> dict[str, str]:
    """Return the options of Kafka's token login; its connection to the endpoint has TLS options of its own."""
    oauth = kafka.oauth
    given = {"clientId": oauth.client_id or "", "clientSecret": _revealed(oauth.client_secret)}
    if oauth.scope:
        given["scope"] = oauth.scope
    if oauth.ca_file is not None:
        given |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(oauth.ca_file)}
    return given


def _revealed(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

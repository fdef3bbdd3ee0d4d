"""Groups of settings: their base class, parts of the model, streaming, SQL, dashboards, monitoring and alerts."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr


class Section(BaseModel):
    """A group of settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StreamingSettings(Section):
    """Triggers, batch sizes, restarts, and whether a stream is always running, so that a load only lands files."""

    live: bool
    ingest_interval_ms: int = Field(ge=0, le=60_000)
    merge_interval_ms: int = Field(ge=0, le=3_600_000)
    revise_interval_ms: int = Field(ge=0, le=3_600_000)
    summarise_interval_ms: int = Field(ge=0, le=600_000)
    max_rows_per_batch: int = Field(ge=1, le=1_000_000)
    accept_data_loss: bool
    retries: int = Field(ge=0, le=1000)
    backoff_seconds: float = Field(gt=0, le=600)
    warm_up_seconds: float = Field(ge=0, le=600)
    upkeep_minutes: float = Field(gt=0, le=1440)
    quality_minutes: float = Field(gt=0, le=10_080)
    shadow: bool


class GridSettings(Section):
    """The grid for cross-validation: every combination of the values for the chosen algorithm."""

    regularisation: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1)
    elastic_net: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(min_length=1)
    trees: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(min_length=1)
    depth: tuple[Annotated[int, Field(ge=1, le=15)], ...] = Field(min_length=1)


class CostSettings(Section):
    """The cost of each kind of wrong prediction, in any unit; they determine the threshold."""

    false_alarm: float = Field(gt=0)
    missed: float = Field(gt=0)


def _share_or_number(value: float) -> float:
    if value >= 1 and not value.is_integer():
        msg = "must be a share below 1, or a whole number"
        raise ValueError(msg)
    return value


# How many to keep: a share if below 1, a count from 1 up.
Strongest = Annotated[float, Field(gt=0), AfterValidator(_share_or_number)]


class TextModelSettings(Section):
    """An optional text feature and its model: a folder, a hub name, or the project's own."""

    enabled: bool
    model: str | None = None


class SqlSettings(Section):
    """Limits for queries of `complaints sql`, alerts and Superset."""

    seconds: float = Field(gt=0, le=3600)
    memory: str = Field(pattern=r"^\d+[mg]$")
    threads: int = Field(ge=1, le=256)
    spill: str = Field(pattern=r"^\d+[mg]$")
    running: int = Field(ge=1, le=100)
    waiting: int = Field(ge=0, le=1000)

    @property
    def memory_bytes(self) -> int:
        """The memory in bytes."""
        return int(self.memory[:-1]) << {"m": 20, "g": 30}[self.memory[-1]]


class SupersetSettings(Section):
    """Superset's server, its metadata database, and the warehouse that it reads."""

    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65_535)
    https: bool
    metadata: SecretStr | None = None
    warehouse: SecretStr | None = None


class MonitoringSettings(Section):
    """How a stream reports on itself, besides its tables, and what goes to the log files."""

    metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    log_format: Literal["text", "json"]
    log_level: Literal["debug", "info", "warning", "error"]
    log_file: Path | None = None


def _secret_web_address(secret: SecretStr) -> SecretStr:
    """Validate an address that is itself a secret, so the error never repeats it."""
    _web_address(secret.get_secret_value())
    return secret


def _web_address(value: str) -> str:
    is_plain = value.isascii() and value.isprintable() and " " not in value
    parts = urlsplit(value) if is_plain else urlsplit("")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname))):
        msg = "must begin with https://, or with http:// where the host is this machine (127.0.0.1, localhost)"
        raise ValueError(msg)
    return value


def _address_without_login(value: str) -> str:
    if "@" in urlsplit(_web_address(value)).netloc:
        msg = "must hold no user name and no password, which are settings of their own"
        raise ValueError(msg)
    return value


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class AlertSettings(Section):
    """How often a stream evaluates the alert rules, and where alerts go besides the terminal."""

    minutes: float | None = Field(gt=0, le=1440)
    webhook: Annotated[SecretStr, AfterValidator(_secret_web_address)] | None = None


class OAuthSettings(Section):
    """The client credentials of `kafka.sasl_mechanism` OAUTHBEARER: where a token is requested, and as which client.

    Source: RFC 6749, section 4.4.
    """

    token_url: Annotated[str, AfterValidator(_address_without_login)] | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    scope: str | None = None
    ca_file: Path | None = None

"""Groups of settings: what they share, and those of the stream, of metrics and logs, of dashboards and of alerts."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Section(BaseModel):
    """A group of settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StreamingSettings(Section):
    """Triggers, batch sizes, restarts; and whether a stream runs all the time, so that loading only has to land."""

    live: bool
    ingest_interval_ms: int = Field(ge=0, le=60_000)
    summarise_interval_ms: int = Field(ge=0, le=600_000)
    max_rows_per_batch: int = Field(ge=1, le=1_000_000)
    accept_data_loss: bool
    retries: int = Field(ge=0, le=1000)
    backoff_seconds: float = Field(gt=0, le=600)
    warm_up_seconds: float = Field(ge=0, le=600)
    upkeep_minutes: float = Field(gt=0, le=1440)
    quality_minutes: float = Field(gt=0, le=10_080)
    shadow: bool


class SupersetSettings(Section):
    """Superset's server, where it keeps its own metadata, and what it reads."""

    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65_535)
    https: bool
    metadata: SecretStr | None = None
    warehouse: SecretStr | None = None


class MonitoringSettings(Section):
    """What a stream tells of itself besides its tables."""

    metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    log_format: Literal["text", "json"]


class AlertSettings(Section):
    """Where alerts go besides the terminal."""

    webhook: SecretStr | None = None

"""Groups of settings: what they share, and those of what is seen from outside: dashboards, alerts, metrics, logs."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Section(BaseModel):
    """A group of settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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

"""Groups of settings: what they share, and those of what looks at the lake from outside, dashboards and alerts."""

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


class AlertSettings(Section):
    """Where alerts go besides the terminal."""

    webhook: SecretStr | None = None

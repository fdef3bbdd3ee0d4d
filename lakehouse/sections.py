"""Groups of settings: what they share, parts of the model's, and those of dashboards and alerts."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr


class Section(BaseModel):
    """A group of settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class GridSettings(Section):
    """What cross-validation tries: every combination of the values of the algorithm in use."""

    regularisation: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1)
    elastic_net: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(min_length=1)
    trees: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(min_length=1)
    depth: tuple[Annotated[int, Field(ge=1, le=15)], ...] = Field(min_length=1)


class CostSettings(Section):
    """What a wrong call costs, in any unit; the threshold follows from them."""

    false_alarm: float = Field(gt=0)
    missed: float = Field(gt=0)


def _share_or_number(value: float) -> float:
    if value >= 1 and not value.is_integer():
        msg = "must be a share below 1, or a whole number"
        raise ValueError(msg)
    return value


# How many of something to keep: below 1 a share of them, from 1 up a number.
Strongest = Annotated[float, Field(gt=0), AfterValidator(_share_or_number)]


class TextModelSettings(Section):
    """A feature of the narrative that is made when enabled, and by what: a folder, a hub name, or the project's own."""

    enabled: bool
    model: str | None = None


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

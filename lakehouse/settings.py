"""Typed settings: defaults, overridden by the environment's file, then environment variables, then options.

Reads ``conf/settings.yaml`` and ``conf/<environment>.yaml``, ``COMPLAINTS_…`` variables (``__`` between levels) and
command line options. Every value is validated at startup, and an invalid one is refused by name.
"""

import difflib
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from lakehouse.errors import ComplaintsError
from lakehouse.heap import check_heap
from lakehouse.platform import DATABRICKS, LOCAL, Platform
from lakehouse.settings_sections import (
    AlertSettings,
    CostSettings,
    GridSettings,
    MonitoringSettings,
    OAuthSettings,
    Section,
    SqlSettings,
    StreamingSettings,
    Strongest,
    SupersetSettings,
    TextModelSettings,
)

PREFIX = "COMPLAINTS_"
CONF = Path(__file__).resolve().parent.parent / "conf"
NOT_SETTINGS = {"COMPLAINTS_JARS"}  # the location of the jars, read before the settings
SCHEMA = r"^[a-z_][a-z0-9_]{0,99}$"
Environment = Literal["local", "dev", "staging", "prod"]
SECRETS = {
    *("kafka.password", "kafka.oauth.client_secret"),
    "kafka.oauth.token_url",  # not a secret, but a wrong one may contain a password
    *("superset.metadata", "superset.warehouse", "alerts.webhook"),
}


class SchemaSettings(Section):
    """Names of the layers' schemas in Unity Catalog."""

    bronze: str = Field(pattern=SCHEMA)
    silver: str = Field(pattern=SCHEMA)
    gold: str = Field(pattern=SCHEMA)
    ml: str = Field(pattern=SCHEMA)


class LakeSettings(Section):
    """Where the tables are stored, and where files to load arrive."""

    catalog: str | None = None
    schemas: SchemaSettings
    landing: Path | None = None
    file_source: Literal["binaryFile", "cloudFiles"]
    log_retention: str

    @field_validator("log_retention")
    @classmethod
    def _an_interval(cls, value: str) -> str:
        if not re.fullmatch(r"interval \d+ (minutes|hours|days|weeks)", value):
            msg = "must read like 'interval 7 days'"
            raise ValueError(msg)
        return value


class SparkSettings(Section):
    """The local session; on Databricks the cluster's configuration applies."""

    cores: int = Field(ge=1, le=256)
    memory: str = Field(pattern=r"^\d+[mg]$")


class TopicSettings(Section):
    """The declaration of one topic."""

    name: str = Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")
    partitions: int = Field(ge=1, le=1000)
    replication: int = Field(ge=1, le=10)
    retention_hours: int = Field(ge=1)
    compacted: bool
    max_message_bytes: int = Field(ge=1024, le=64 * 1024 * 1024)


class ProducerSettings(Section):
    """How a producer batches messages: it waits for more messages to send together, up to a size per partition."""

    linger_ms: int = Field(ge=0, le=60_000)
    batch_bytes: int = Field(ge=1, le=16 * 1024 * 1024)
    compression: Literal["none", "gzip", "lz4"]


class KafkaSettings(Section):
    """The broker and the two topics."""

    bootstrap_servers: str | None = None
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
    username: str | None = None
    password: SecretStr | None = None
    oauth: OAuthSettings
    ca_file: Path | None = None
    client_file: Path | None = None
    group: str = Field(min_length=1)
    producer: ProducerSettings
    input: TopicSettings
    predictions: TopicSettings


class SilverSettings(Section):
    """Definitions used by silver."""

    successful_resolution: str = Field(min_length=1)
    most_withdrawn_share: float = Field(ge=0, le=1)


class MlSettings(Section):
    """Training, evaluation and registry."""

    model: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    experiment: str = Field(min_length=1)
    algorithm: Literal["logistic_regression", "gradient_boosted_trees"]
    split: Literal["time", "random"]
    test_share: float = Field(gt=0, lt=1)
    calibration_share: float = Field(gt=0, lt=1)
    folds: int = Field(ge=2, le=20)
    grid: GridSettings
    class_weights: Literal["none", "balanced"]
    costs: CostSettings
    seed: int
    vocabulary_size: int = Field(ge=16, le=1 << 20)
    min_document_frequency: int = Field(ge=1)
    answer_days: int = Field(ge=0, le=365)
    history_weight: float = Field(gt=0)
    synthetic: bool
    keep_features: Strongest | None
    sentiment: TextModelSettings
    embeddings: TextModelSettings


class _YamlSource(PydanticBaseSettingsSource):
    """One YAML file as a source of settings."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path) -> None:
        super().__init__(settings_cls)
        self.path = path

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ANN401, ARG002
        return None, field_name, False  # the whole file is read at once, in __call__

    def __call__(self) -> dict[str, Any]:
        return read_yaml(self.path)


class Settings(BaseSettings):
    """All settings, validated and frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,  # or an empty COMPLAINTS_ROOT would mean the current folder
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
        hide_input_in_errors=True,  # a traceback shows these errors, and an input may be a secret
    )

    environment: Environment
    root: Path
    lake: LakeSettings
    spark: SparkSettings
    kafka: KafkaSettings
    streaming: StreamingSettings
    silver: SilverSettings
    ml: MlSettings
    monitoring: MonitoringSettings
    sql: SqlSettings
    superset: SupersetSettings
    alerts: AlertSettings

    @cached_property
    def folder(self) -> Path:
        """The absolute path of a local run's folder."""
        return self.root.expanduser().resolve()

    @property
    def platform(self) -> Platform:
        """The platform that this lake is on."""
        return DATABRICKS if self.lake.catalog else LOCAL

    @property
    def landing(self) -> Path:
        """The folder where files to load arrive."""
        return self.lake.landing or self.folder / "landing"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of precedence: options, variables, the environment's file, the defaults."""
        name = str(init_settings().get("environment") or env_settings().get("environment") or "local")
        files = [_YamlSource(settings_cls, environment_file(name)), _YamlSource(settings_cls, CONF / "settings.yaml")]
        return init_settings, env_settings, *files


def environment_file(name: str) -> Path:
    """The settings file of one environment.

    Raises:
        ComplaintsError: there is no such environment.
    """
    path = CONF / f"{name}.yaml"
    if name not in Environment.__args__ or not path.is_file():  # type: ignore[attr-defined]
        known = ", ".join(Environment.__args__)  # type: ignore[attr-defined]
        msg = f"environment is '{name}', but only {known} are known: set COMPLAINTS_ENVIRONMENT to one of them."
        raise ComplaintsError(msg)
    return path


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping.

    Raises:
        ComplaintsError: the file is unreadable or not a mapping; the message names file and line.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        where = f"{path.name}:{mark.line + 1}" if (mark := getattr(error, "problem_mark", None)) else path.name
        reason = getattr(error, "problem", None) or error
        msg = f"conf/{where} can't be read as YAML: {reason}."
        raise ComplaintsError(msg) from error
    if not isinstance(content, dict):
        msg = f"conf/{path.name} must hold keys and values, but holds {type(content).__name__}."
        raise ComplaintsError(msg)
    return content


def load_settings(**options: Any) -> Settings:  # noqa: ANN401
    """Load the settings of this run.

    Args:
        options: top-level settings from the command line; None means not given.

    Raises:
        ComplaintsError: a key is unknown or a value isn't allowed (the message names the key, the value and what is
            allowed), or Spark's heap is too small for the largest message that the settings allow.
    """
    _refuse_unknown_variables()
    try:
        settings = Settings(**{key: value for key, value in options.items() if value is not None})
    except ValidationError as error:
        raise ComplaintsError(_describe(error)) from error
    except SettingsError as error:
        named = re.search(r'"(\w+)"', str(error))
        variable = f"{PREFIX}{named[1].upper()}" if named else f"A variable {PREFIX}…"
        msg = f"{variable} can't be read: a group of settings is given as a JSON object, or one by one ({PREFIX}A__B)."
        raise ComplaintsError(msg) from error
    if settings.platform.starts_spark:
        check_heap(settings.spark.memory, settings.kafka.input.max_message_bytes, "kafka.input.max_message_bytes")
    return settings


def refuse_outside_workspace(settings: Settings) -> None:
    """Refuse to use tables that this machine can't reach; `spark_catalog` is Spark's own, which it has anywhere.

    Raises:
        ComplaintsError: the tables are in a Databricks workspace, and this is none of its clusters.
    """
    if settings.lake.catalog not in {None, "spark_catalog"} and "DATABRICKS_RUNTIME_VERSION" not in os.environ:
        msg = (
            f"The environment {settings.environment} has its tables in the catalog {settings.lake.catalog} of a "
            "Databricks workspace, which this machine is not part of: run the deployed jobs with `complaints "
            "databricks run`, query the tables through a SQL warehouse, or use --environment local."
        )
        raise ComplaintsError(msg)


def _refuse_unknown_variables() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | NOT_SETTINGS
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name.split("__")[0] not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f" Did you mean {near[0]}?" if near else f" Known are {', '.join(sorted(known))}."
            msg = f"The environment variable {name} is not a setting.{hint}"
            raise ComplaintsError(msg)


def _describe(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"The setting {key} is unknown; `complaints setup --show` lists all settings."
    if first["type"] == "missing":
        variable = f"{PREFIX}{key.upper().replace('.', '__')}"
        return f"The setting {key} is missing; give it in conf/settings.yaml or as {variable}."
    return f"The setting {key} is {_shown(key, first['input'])}: {message[0].lower()}{message[1:]}."


def _shown(key: str, value: object) -> str:
    """An invalid value as an error message may show it: never a secret, nor anything that may contain one."""
    if key in SECRETS or isinstance(value, Mapping | list):
        return f"wrong (a {type(value).__name__})"
    return repr(value)

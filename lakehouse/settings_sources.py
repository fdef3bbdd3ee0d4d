"""The source of each setting's value: an option, a variable, the environment's file, or the defaults."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_settings import EnvSettingsSource

from lakehouse.settings import CONF, Settings, environment_file, read_yaml


def flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten nested settings into dotted keys and values."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def provenance(settings: Settings, **options: Any) -> list[tuple[str, str, str]]:  # noqa: ANN401
    """List every setting with its value (secrets masked) and its source.

    Returns:
        Rows of (dotted key, value as text, source).
    """
    layers = [
        ("option", set(dict(flat({k: v for k, v in options.items() if v is not None})))),
        ("environment variable", set(dict(flat(EnvSettingsSource(Settings)())))),
        (f"conf/{settings.environment}.yaml", set(dict(flat(read_yaml(environment_file(settings.environment)))))),
        ("conf/settings.yaml", set(dict(flat(read_yaml(CONF / "settings.yaml"))))),
    ]
    return [
        (key, _as_written(value), next((name for name, keys in layers if key in keys), "built in"))
        for key, value in flat(settings.model_dump())
    ]


def _as_written(value: object) -> str:
    """Return a value as a settings file would have it."""
    return json.dumps(value) if value is None or isinstance(value, bool | tuple | list) else str(value)

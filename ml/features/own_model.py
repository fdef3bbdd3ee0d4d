"""A user's own model for an optional feature: a folder saved by Spark, or a name on Spark NLP's hub."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lakehouse.errors import ComplaintsError

Loaded = TypeVar("Loaded")


def own_model(
    setting: str, model: str, from_folder: Callable[[str], Loaded], from_hub: Callable[[str], Loaded]
) -> Loaded:
    """Load the model that a setting names; a value with a slash is a folder.

    Args:
        setting: key of the setting, for error messages.
        model: value of the setting.
        from_folder: loads a model from a folder.
        from_hub: downloads a model by name, which needs network access once.

    Raises:
        ComplaintsError: if there is no such folder, or the model can't be loaded.
    """
    is_folder = "/" in model
    if is_folder and not Path(model).is_dir():
        msg = f"The setting {setting} is '{model}', and there is no such folder."
        raise ComplaintsError(msg)
    try:
        return from_folder(model) if is_folder else from_hub(model)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        where = "in that folder" if is_folder else "of that name on Spark NLP's hub, or the hub can't be reached"
        msg = f"The setting {setting} is '{model}', and there is no usable model {where} ({first})."
        raise ComplaintsError(msg) from error

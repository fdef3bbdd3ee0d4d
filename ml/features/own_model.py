"""A user's own model for an optional feature: a folder that Spark saved one in, or a name on Spark NLP's hub."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lakehouse.errors import ComplaintsError

Loaded = TypeVar("Loaded")


def own_model(
    setting: str, model: str, from_folder: Callable[[str], Loaded], from_hub: Callable[[str], Loaded]
) -> Loaded:
    """The model that a setting names; what has a slash in it is a folder.

    Args:
        setting: its key, for an error.
        model: its value.
        from_folder: loads a folder.
        from_hub: downloads a name, which needs a network once.

    Raises:
        ComplaintsError: there is no such folder, or what it names can't be loaded.
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
        msg = f"The setting {setting} is '{model}', and there is no fitting model {where} ({first})."
        raise ComplaintsError(msg) from error

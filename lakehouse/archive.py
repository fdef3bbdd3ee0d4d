"""A file of numpy arrays and what describes them, replaced as a whole."""

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]
ABOUT, FORMAT = "about", "format"


def write_archive(path: Path, form: int, about: Mapping[str, object], arrays: Arrays) -> None:
    """Write the arrays and their description, in place of an earlier file.

    Args:
        path: the file; its folder is created.
        form: version of the file's format, which a reader must ask for.
        about: the description, as JSON has it.
        arrays: the arrays by name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    named: dict[str, Any] = {ABOUT: np.array(json.dumps({**about, FORMAT: form})), **arrays}
    # Written elsewhere first: a volume of a workspace can't be written in any order, as an archive is.
    with TemporaryFile() as file:
        np.savez(file, **named)
        file.seek(0)
        with part.open("wb") as target:
            shutil.copyfileobj(file, target)
    part.replace(path)


def read_archive(path: Path, form: int) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]] | None:
    """Return the description and the arrays; None if there is no readable file of this format."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored[ABOUT]))
            arrays = {name: stored[name] for name in stored.files if name != ABOUT}
            return (about, arrays) if about[FORMAT] == form else None
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return None

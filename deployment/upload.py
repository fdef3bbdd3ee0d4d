"""An export file to the landing volume, from where the loading job takes it."""

import io
from collections.abc import Callable
from pathlib import Path

from databricks.sdk.errors import AlreadyExists

from deployment.deployment import Deployment
from deployment.workspace import asking
from lakehouse.errors import ComplaintsError


class _Watched(io.FileIO):
    """A file that tells how far it was read."""

    def __init__(self, path: Path, on_bytes: Callable[[int], None]) -> None:
        super().__init__(path, "rb")
        self._on_bytes = on_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        self._on_bytes(self.tell())
        return data or b""


def upload(deployment: Deployment, path: Path, on_bytes: Callable[[int], None]) -> str:
    """Upload one file under its own name; one that is there is not replaced.

    Args:
        deployment: whose landing volume it is for.
        path: the file.
        on_bytes: told how many bytes were read so far.

    Returns:
        Where it is now.

    Raises:
        ComplaintsError: there is a file of that name, or the workspace refuses it.
    """
    folder = deployment.settings()["COMPLAINTS_LAKE__LANDING"]
    target = f"{folder}/{path.name}"
    missing = f"There is no landing volume {folder}: deploy the bundle again."
    with asking(f"take {path.name}", missing=missing), _Watched(path, on_bytes) as file:
        try:
            deployment.client.files.upload(target, file, overwrite=False)
        except AlreadyExists as error:
            msg = f"{target} is there already: give the file another name if its content is new."
            raise ComplaintsError(msg) from error
    return target

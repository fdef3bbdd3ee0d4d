"""Upload an export file to the landing volume, from which the job `load` reads it."""

import io
from collections.abc import Callable
from pathlib import Path

from databricks.sdk.errors import AlreadyExists

from deployment.deployment import Deployment
from deployment.workspace import asking
from lakehouse.errors import ComplaintsError


class _ProgressFile(io.FileIO):
    """A file that reports how many bytes have been read."""

    def __init__(self, path: Path, on_bytes: Callable[[int], None]) -> None:
        super().__init__(path, "rb")
        self._on_bytes = on_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        self._on_bytes(self.tell())
        return data or b""


def upload(deployment: Deployment, path: Path, on_bytes: Callable[[int], None]) -> str:
    """Upload one file under its own name; an existing file is not replaced.

    Args:
        deployment: the deployment that has the landing volume.
        path: the file.
        on_bytes: called with the number of bytes read so far.

    Returns:
        The file's path in the volume.

    Raises:
        ComplaintsError: a file with that name exists, or the workspace refuses the upload.
    """
    folder = deployment.settings()["COMPLAINTS_LAKE__LANDING"]
    target = f"{folder}/{path.name}"
    missing = f"There is no landing volume {folder}: deploy the bundle again."
    with asking(f"upload {path.name}", missing=missing), _ProgressFile(path, on_bytes) as file:
        try:
            deployment.client.files.upload(target, file, overwrite=False)
        except AlreadyExists as error:
            msg = f"{target} already exists: rename the file if its content is new."
            raise ComplaintsError(msg) from error
    return target

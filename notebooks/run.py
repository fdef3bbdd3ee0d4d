"""Run the notebooks from top to bottom, and write them anew with what they show: `make notebooks`.

They read the lake that `COMPLAINTS_ROOT` names, otherwise that of `make demo`.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

FOLDER = Path(__file__).resolve().parent
CELL_SECONDS = 600


def notebooks() -> list[Path]:
    """The notebooks, in the order in which they are to be read."""
    return sorted(FOLDER.glob("*.ipynb"))


def executed(path: Path) -> nbformat.NotebookNode:
    """A notebook with the outputs of a run in a kernel of its own.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as sockets:  # by which this process and the kernel speak, so that no port is open
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            record_timing=False,  # so that only what a run shows makes a difference
            resources={"metadata": {"path": str(FOLDER)}},
            config=Config(KernelManager={"transport": "ipc", "ip": str(Path(sockets) / "kernel")}),
        )
        client.execute()
    notebook.metadata.language_info = nbformat.NotebookNode(name="python")
    return notebook


def main() -> None:
    """Write every notebook anew."""
    for path in notebooks():
        print(f"{path.name} …", flush=True)
        try:
            nbformat.write(executed(path), path)
        except CellExecutionError as error:
            sys.exit(f"{path.name} was not written, a cell failed: {error.ename}: {error.evalue}")


if __name__ == "__main__":
    main()

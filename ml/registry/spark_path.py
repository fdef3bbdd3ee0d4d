"""A path from which Spark can load a model, whatever the folder is called.

Spark takes a comma for the end of a path and brackets for a pattern, and Spark NLP takes a path for a URI, which has no
spaces and no percent signs. So such a folder is reached through a link in the temporary folder.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_PLAIN = re.compile(r"[\w/.+@=~-]+")


@contextmanager
def spark_path(folder: Path) -> Iterator[str]:
    """Yield the path of a folder, or one through a link to its parent that is removed afterwards."""
    if _PLAIN.fullmatch(str(folder)):
        yield str(folder)
        return
    with TemporaryDirectory(prefix="complaints-model-") as temporary:
        link = Path(temporary, "parent")  # MLflow refuses a folder that is itself a link
        link.symlink_to(folder.parent, target_is_directory=True)
        yield str(link / folder.name)

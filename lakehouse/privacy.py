"""Files of the lake are their owner's alone: complaints, models, metadata and logs."""

import os
import stat
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def restrict_to_owner(folder: Path) -> None:
    """Make what this process and its children create readable by nobody else, and close a folder that is there already.

    Args:
        folder: the lake's; what older versions left open below it can't be reached once it is closed.
    """
    os.umask(OTHERS)
    if folder.is_dir() and folder.stat().st_uid == os.getuid() and folder.stat().st_mode & OTHERS:
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~OTHERS)

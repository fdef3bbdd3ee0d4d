"""Restrict the lake's files (complaints, models, metadata, logs) to their owner."""

import os
import stat
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def restrict_to_owner(folder: Path) -> None:
    """Make new files of this process and its children private, and close an existing folder to other users.

    Args:
        folder: the lake's folder; once it is closed, files below it that older versions left open can't be reached.
    """
    os.umask(OTHERS)
    if folder.is_dir() and folder.stat().st_uid == os.getuid() and folder.stat().st_mode & OTHERS:
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~OTHERS)

"""What a process of Superset's server may do to the machine, enforced by the kernel whatever a query finds in DuckDB.

Only Linux has this. Elsewhere the server runs without it, and logs a warning.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

# Landlock, from linux/landlock.h: its system calls, and its rights to change files.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
GET_VERSION, PATH_BENEATH = 1, 1
NO_NEW_PRIVILEGES = 38  # of prctl
WRITE_FILE, TRUNCATE = 1 << 1, 1 << 14
REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))  # directories, files, sockets, links, devices
FIRST_WITH_TRUNCATE = 3  # version


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def write_only_beneath(folders: Iterable[Path]) -> bool:
    """Keep this thread, and everything it starts, from changing any file outside some folders, permanently.

    Call it before the process has other threads: those are not restricted.

    Args:
        folders: where it may still write; missing ones are left out.

    Returns:
        Whether the kernel enforces it.

    Raises:
        OSError: the kernel supports it, and refuses.
    """
    if not sys.platform.startswith("linux"):
        return False
    system = ctypes.CDLL(None, use_errno=True)
    version = system.syscall(CREATE_RULESET, None, 0, GET_VERSION)
    if version < FIRST_WITH_TRUNCATE:
        return False
    rights = WRITE_FILE | TRUNCATE | REMOVE_AND_MAKE
    asked = _Ruleset(rights)
    rules = _called(system.syscall(CREATE_RULESET, ctypes.byref(asked), ctypes.sizeof(asked), 0))
    for folder in folders:
        if folder.is_dir():
            place = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            beneath = _Beneath(rights, place)
            _called(system.syscall(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(beneath), 0))
            os.close(place)
    _called(system.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _called(system.syscall(RESTRICT_SELF, rules, 0))
    os.close(rules)
    return True


def _called(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def limit_memory(more: int) -> bool:
    """Limit this process to so many bytes more than it has now: DuckDB's own limit leaves out single values.

    Returns:
        Whether the kernel enforces it.
    """
    if not sys.platform.startswith("linux"):
        return False
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    used = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:"))
    limit = used * 1024 + more
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    return True

"""A background server: one process group, identified by a lock that its processes hold as long as one of them lives.

Unlike a process id, the lock can't belong to another program, whoever started the server and however it ended.
"""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_SECONDS = 15.0


class BackgroundProcess:
    """At most one running server.

    Args:
        home: the server's folder; this class owns `running.lock` and `pid` in it.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = home / "running.lock"
        self._pid = home / "pid"

    def is_running(self) -> bool:
        """Whether a process of the server is alive."""
        if not self._lock.is_file():
            return False
        with self._lock.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @property
    def pid(self) -> int:
        """The id of the last started server's process, which is also that of its group."""
        return int(self._pid.read_text())

    def launch(self, command: Sequence[str], variables: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
        """Start the server with this environment, and append its output to the log."""
        with self._lock.open("w") as lock, log.open("ab") as output:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the server's processes inherit and hold it
            server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(variables),
                cwd=self._home,
                start_new_session=True,
                pass_fds=[lock.fileno()],
            )
        self._pid.write_text(str(server.pid))
        return server

    def stop(self) -> bool:
        """Stop the server, with SIGTERM first; returns whether one was running."""
        if not self.is_running():
            return False
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                break
            end = time.monotonic() + STOP_SECONDS
            while self.is_running() and time.monotonic() < end:
                time.sleep(0.1)
            if not self.is_running():
                break
        return True

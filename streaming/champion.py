"""Watches the registry while complaints stream: a new champion is loaded aside, then taken between two batches."""

import threading
from collections.abc import Callable
from typing import Protocol

from lakehouse.errors import ComplaintsError
from ml.scoring import Model

WATCH_SECONDS = 5.0


class Champions(Protocol):
    """What is asked of the registry."""

    def champion_version(self) -> str:
        """The version that is champion."""

    def load(self, version: str) -> Model:
        """A version, loaded."""


class ChampionWatcher:
    """Finds out that the champion alias has moved, and loads the new champion, in a thread of its own.

    A registry that doesn't answer, and a champion that can't be loaded, leave the last model at work; it is said once.

    Args:
        registry: asked every few seconds.
        version: of the model at work.
        notify: told in a sentence what happens.
        seconds: between two questions.
    """

    def __init__(
        self, registry: Champions, version: str, notify: Callable[[str], None], seconds: float = WATCH_SECONDS
    ) -> None:
        self._registry = registry
        self._version = version
        self._notify = notify
        self._seconds = seconds
        self._ready: Model | None = None
        self._said: str | None = None
        self._loading: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="champion", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; a load under way is not waited for long."""
        self._stop.set()
        self._thread.join(self._seconds)

    def take(self) -> Model | None:
        """The new champion, loaded; once, and None while there is none."""
        ready, self._ready = self._ready, None
        return ready

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            self.look()

    def look(self) -> None:
        """Ask once, and load a champion that is another than the last."""
        try:
            version = self._registry.champion_version()
            if version != self._version:
                if version != self._loading:
                    self._notify(f"Version {version} is the champion now: loading it.")
                self._loading = version
                model = self._registry.load(version)
                self._version, self._ready = version, model
        except ComplaintsError as error:
            self._tell(f"{error} Version {self._version} goes on scoring.")
        except Exception as error:  # noqa: BLE001 - whatever ails the registry, scoring goes on
            self._tell(f"The registry can't be asked ({error}). Version {self._version} goes on scoring.")
        else:
            self._said = None

    def _tell(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self._notify(sentence)

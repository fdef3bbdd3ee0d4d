"""Watches the registry while complaints stream: a new champion is loaded aside, then taken between two batches.

With shadow scoring the challenger is watched, too, which scores beside the champion and decides nothing.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from lakehouse.errors import ComplaintsError
from ml.registry.versions import CHALLENGER, CHAMPION
from ml.scoring.scoring import Model

WATCH_SECONDS = 5.0
ALONE = "Nothing scores beside the champion."


class Champions(Protocol):
    """What is asked of the registry."""

    def champion_version(self) -> str:
        """The version that is champion."""

    def version_of(self, alias: str) -> str | None:
        """The version that an alias names."""

    def load(self, version: str) -> Model:
        """A version, loaded."""


@dataclass(frozen=True)
class ActiveModels:
    """The models that score: the champion decides; the challenger, if any, is only recorded."""

    champion: Model
    challenger: Model | None = None


class ChampionWatcher:
    """Finds out that an alias has moved, and loads what it names now, in a thread of its own.

    A registry that doesn't answer, and a version that can't be loaded, leave the last model at work; it is said once.

    Args:
        registry: asked every few seconds.
        active_models: the models that score now.
        notify: told in a sentence what happens.
        shadows: whether the challenger is watched, too.
        seconds: between two questions.
    """

    def __init__(
        self,
        registry: Champions,
        active_models: ActiveModels,
        notify: Callable[[str], None],
        *,
        shadows: bool = False,
        seconds: float = WATCH_SECONDS,
    ) -> None:
        self._registry = registry
        self._at_work = active_models
        self._notify = notify
        self._shadows = shadows
        self._seconds = seconds
        self._ready: ActiveModels | None = None
        self._said: dict[str, str] = {}
        self._loading: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="champion", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; a load under way is not waited for long."""
        self._stop.set()
        self._thread.join(self._seconds)

    def take(self) -> ActiveModels | None:
        """The models as they are to work from now on, loaded; once, and None while nothing has changed."""
        ready, self._ready = self._ready, None
        return ready

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            self.look()

    def look(self) -> None:
        """Ask once, and load what is another version than the one at work."""
        champion = self._found(CHAMPION, self._registry.champion_version, self._at_work.champion)
        challenger = None
        if self._shadows:
            ask = partial(self._registry.version_of, CHALLENGER)
            challenger = self._found(CHALLENGER, ask, self._at_work.challenger)
        found = ActiveModels(champion or self._at_work.champion, challenger)
        if found != self._at_work:
            self._at_work = self._ready = found

    def _found(self, alias: str, ask: Callable[[], str | None], now: Model | None) -> Model | None:
        """The model that an alias names: the one at work when that is the same, or no other can be had."""
        try:
            version = ask()
            if version is not None and (now is None or version != now.version):
                if version != self._loading.get(alias):
                    self._notify(f"Version {version} is the {alias} now: loading it.")
                self._loading[alias] = version
                now = self._registry.load(version)
            elif version is None and now is not None:
                self._notify(f"There is no {alias} any more. {ALONE}")
                now = None
        except ComplaintsError as error:
            self._tell(alias, f"{error} {_goes_on(now)}")
        except Exception as error:  # noqa: BLE001 - whatever ails the registry, scoring goes on
            self._tell(alias, f"The registry can't be asked ({error}). {_goes_on(now)}")
        else:
            self._said.pop(alias, None)
        return now

    def _tell(self, alias: str, sentence: str) -> None:
        if sentence != self._said.get(alias):
            self._said[alias] = sentence
            self._notify(sentence)


def _goes_on(now: Model | None) -> str:
    return f"Version {now.version} goes on scoring." if now else ALONE

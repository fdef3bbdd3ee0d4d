"""Watch the registry: load a new champion in the background, switch to it between two batches.

With shadow scoring, the challenger is watched too; it scores the same complaints but decides nothing.
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
ALONE = "Only the champion scores."


class Champions(Protocol):
    """The registry calls that the watcher uses."""

    def champion_version(self) -> str:
        """Return the champion's version."""

    def version_of(self, alias: str) -> str | None:
        """Return the version that an alias points to."""

    def load(self, version: str) -> Model:
        """Load a version."""


@dataclass(frozen=True)
class ActiveModels:
    """The models that score: the champion decides; the challenger's scores, if any, are only recorded."""

    champion: Model
    challenger: Model | None = None


class ChampionWatcher:
    """Detects that an alias has moved and loads its new version, in a separate thread.

    If the registry doesn't answer or a version can't be loaded, the last model stays active; this is reported once.

    Args:
        registry: polled every few seconds.
        active_models: the models that score now.
        notify: called with a sentence on each event.
        shadows: whether the challenger is watched too.
        seconds: between two polls.
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
        self._active = active_models
        self._notify = notify
        self._shadows = shadows
        self._seconds = seconds
        self._ready: ActiveModels | None = None
        self._reported: dict[str, str] = {}
        self._loading: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="champion", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; waits only briefly for a load in progress."""
        self._stop.set()
        self._thread.join(self._seconds)

    def take(self) -> ActiveModels | None:
        """Return the newly loaded models, once; None if nothing has changed."""
        ready, self._ready = self._ready, None
        return ready

    def _watch(self) -> None:
        while not self._stop.wait(self._seconds):
            self.look()

    def look(self) -> None:
        """Poll once, and load versions that differ from the active ones."""
        champion = self._found(CHAMPION, self._registry.champion_version, self._active.champion)
        challenger = None
        if self._shadows:
            ask = partial(self._registry.version_of, CHALLENGER)
            challenger = self._found(CHALLENGER, ask, self._active.challenger)
        found = ActiveModels(champion or self._active.champion, challenger)
        if found != self._active:
            self._active = self._ready = found

    def _found(self, alias: str, ask: Callable[[], str | None], now: Model | None) -> Model | None:
        """Return the model of an alias: the active one if it is the same, or if another can't be loaded."""
        try:
            version = ask()
            if version is not None and (now is None or version != now.version):
                if version != self._loading.get(alias):
                    self._notify(f"Version {version} is the {alias} now: loading it.")
                self._loading[alias] = version
                now = self._registry.load(version)
            elif version is None and now is not None:
                self._notify(f"There is no {alias} anymore. {ALONE}")
                now = None
        except ComplaintsError as error:
            self._report(alias, f"{error} {_still_active(now)}")
        except Exception as error:  # noqa: BLE001 - scoring continues whatever goes wrong with the registry
            self._report(alias, f"The registry can't be reached ({error}). {_still_active(now)}")
        else:
            self._reported.pop(alias, None)
        return now

    def _report(self, alias: str, sentence: str) -> None:
        if sentence != self._reported.get(alias):
            self._reported[alias] = sentence
            self._notify(sentence)


def _still_active(now: Model | None) -> str:
    return f"Version {now.version} continues to score." if now else ALONE

"""Who refines and scores: a stream that runs all the time, or whoever loads.

Never both, because two must not continue from one checkpoint. A stream can't run before there is a champion, so that on
a new workspace loading refines too, up to the first training.
"""

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from ml.registry.availability import UnreachableError
from ml.registry.registry import Registry


def streams(settings: Settings) -> bool:
    """Whether a stream does it.

    Raises:
        UnreachableError: the registry does not answer, so that nobody can tell.
    """
    return settings.streaming.live and missing_champion(settings) is None


def missing_champion(settings: Settings) -> str | None:
    """The sentence that there is no champion, when it is so.

    Raises:
        UnreachableError: the registry does not answer.
    """
    try:
        Registry(settings).champion_version()
    except UnreachableError:
        raise
    except ComplaintsError as error:
        return str(error)
    return None

"""Which process refines and scores: a continuous stream, or the process that loads.

Never both, because two processes must not share a checkpoint. A stream needs a champion, so on a new workspace the load
refines too, until the first training.
"""

from lakehouse.errors import ComplaintsError
from lakehouse.settings import Settings
from ml.registry.availability import UnreachableError
from ml.registry.registry import Registry


def streams(settings: Settings) -> bool:
    """Whether a stream refines and scores.

    Raises:
        UnreachableError: the registry does not answer.
    """
    return settings.streaming.live and missing_champion(settings) is None


def missing_champion(settings: Settings) -> str | None:
    """Return a sentence if there is no champion, otherwise None.

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

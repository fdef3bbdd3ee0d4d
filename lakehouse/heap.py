"""Check that Spark's heap is large enough for the largest allowed message."""

import math

from lakehouse.errors import ComplaintsError

ALONE = 1 << 30  # bytes that Spark, Delta and the model use before any rows
COPIES = 24  # of one message in memory while it is landed: bytes, text, row, page, compressed page


def heap_bytes(memory: str) -> int:
    """The heap size in bytes, from the setting `spark.memory`."""
    return int(memory[:-1]) << {"m": 20, "g": 30}[memory[-1]]


def check_heap(memory: str, message_bytes: int, limit: str) -> None:
    """Refuse a heap that is too small to land a message of the maximum size.

    Args:
        memory: the setting `spark.memory`.
        message_bytes: the maximum message size.
        limit: the setting that allows messages of that size.

    Raises:
        ComplaintsError: the heap is too small; the message says how large it must be.
    """
    needed = ALONE + COPIES * message_bytes
    if heap_bytes(memory) < needed:
        msg = (
            f"spark.memory is {memory}, too small for messages of {message_bytes:,} bytes, which {limit} lets in: set "
            f"COMPLAINTS_SPARK__MEMORY to {math.ceil(needed / (1 << 20))}m or more, or lower that limit."
        )
        raise ComplaintsError(msg)

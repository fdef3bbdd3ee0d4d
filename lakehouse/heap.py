"""Whether Spark's heap can carry the largest message that is let in."""

import math

from lakehouse.errors import ComplaintsError

ALONE = 1 << 30  # bytes that Spark, Delta and the model take without any rows
COPIES = 24  # of one message that landing it holds at a time: bytes, text, row, page, compressed page


def heap_bytes(memory: str) -> int:
    """A heap's size as `spark.memory` gives it, in bytes."""
    return int(memory[:-1]) << {"m": 20, "g": 30}[memory[-1]]


def check_heap(memory: str, message_bytes: int, limit: str) -> None:
    """Refuse a heap in which a message of the largest size could not be landed.

    Args:
        memory: the setting `spark.memory`.
        message_bytes: the largest size.
        limit: what lets messages of that size in.

    Raises:
        ComplaintsError: the heap is too small; says how large it must be.
    """
    needed = ALONE + COPIES * message_bytes
    if heap_bytes(memory) < needed:
        msg = (
            f"spark.memory is {memory}, too small for messages of {message_bytes:,} bytes, which {limit} lets in: set "
            f"COMPLAINTS_SPARK__MEMORY to {math.ceil(needed / (1 << 20))}m or more, or lower that limit."
        )
        raise ComplaintsError(msg)

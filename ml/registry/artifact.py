"""What is wrong with a version's files, in a sentence, before Spark is asked to load them.

A version is whole when each file has the digest that it was saved with. It is this project's when its signature takes
what the pipeline reads and gives a probability. It can be read when it was saved by the Spark NLP that is here.
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
REMEDY = "train again with `complaints train`, or go back to the champion before with `complaints models rollback`"
FETCHED = "registered_model_meta"  # MLflow's note beside the files of a version that was fetched
_CAUSE = re.compile(r"(?m)^(?:Caused by)?: (?:[\w.$]+\.)?(\w+(?:Error|Exception)\b.*)$")


def digests(folder: Path) -> dict[str, str]:
    """Every file of a version below its folder, by its path in it, with its SHA-256."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FETCHED)
    return {path.relative_to(folder).as_posix(): _digest(path) for path in files}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse_unfit(what: str, folder: Path, saved_with: Mapping[str, str]) -> None:
    """Refuse a version's files that can't serve.

    Args:
        what: how the version is called in a sentence.
        folder: its files.
        saved_with: what `digests` said when they were saved; empty where that was not kept.

    Raises:
        ComplaintsError: a file is missing or not as it was saved, it is no model of this project, or another Spark NLP
            saved it; says what to do.
    """
    for name, digest in saved_with.items():
        path = folder / name
        if not path.is_file() or _digest(path) != digest:
            found = "is not as it was saved" if path.is_file() else "is missing"
            msg = f"{what} is broken, its file {name} {found}: {REMEDY}."
            raise ComplaintsError(msg)
    if foreign := _foreign(folder):
        msg = f"{what} is not a model of this project, since it {foreign}: {REMEDY}."
        raise ComplaintsError(msg)
    saved_by, here = _spark_nlp(folder), sparknlp.version()
    if saved_by != here:
        msg = f"{what} was saved with Spark NLP {saved_by}, and this is Spark NLP {here}: {REMEDY}."
        raise ComplaintsError(msg)


def _foreign(folder: Path) -> str | None:
    """What a model of this project would not be like."""
    try:
        saved = Saved.load(str(folder))
    except (MlflowException, OSError, ValueError, TypeError, yaml.YAMLError):
        return "has no description that MLflow can read"
    if "spark" not in saved.flavors:
        return f"holds no Spark pipeline but {', '.join(sorted(saved.flavors)) or 'nothing'}"
    if saved.signature is None or saved.signature.inputs is None or saved.signature.outputs is None:
        return "does not say what it takes and gives"
    unknown = sorted({str(name) for name in saved.signature.inputs.input_names()} - set(INPUTS))
    if unknown:
        return f"takes {', '.join(unknown)}, which complaints don't have at intake"
    if saved.signature.outputs.input_names() != [OUTPUT]:
        return f"does not give a {OUTPUT}"
    return None


def _spark_nlp(folder: Path) -> str:
    requirements = folder / "requirements.txt"
    text = requirements.read_text(encoding="utf-8") if requirements.is_file() else ""
    found = re.search(r"(?m)^spark-nlp==(\S+)$", text)
    return found[1] if found else "of an unknown version"


def reason(error: BaseException) -> str:
    """Why Spark could not load a version, in one line: the innermost cause that Java tells, or the error's first."""
    causes = _CAUSE.findall(str(error))
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return str(causes[-1] if causes else first)[:300]

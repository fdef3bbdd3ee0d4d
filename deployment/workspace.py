"""The workspace: signing in as the SDK does, and its errors as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import NotFound, PermissionDenied, Unauthenticated
from databricks.sdk.errors.base import DatabricksError

from lakehouse.errors import ComplaintsError

TIMEOUT_SECONDS = 30


def connect() -> WorkspaceClient:
    """Return a client with the SDK's authentication: DATABRICKS_… variables, a profile, or the CLI's login.

    Raises:
        ComplaintsError: there is no authentication.
    """
    try:
        return WorkspaceClient(config=Config(retry_timeout_seconds=TIMEOUT_SECONDS))
    except ValueError as error:
        first = str(error).partition("\n")[0].partition(". Config")[0]
        msg = (
            f"Not signed in to a workspace ({first}): run `databricks auth login --host https://…`, "
            "or set DATABRICKS_HOST with DATABRICKS_TOKEN."
        )
        raise ComplaintsError(msg) from error


@contextmanager
def asking(what: str, *, missing: str | None = None) -> Iterator[None]:
    """Turn errors of workspace calls in this context into one sentence.

    Args:
        what: what is requested, as in "The workspace refuses to …".
        missing: the message when it does not exist.

    Raises:
        ComplaintsError: the workspace can't be reached, doesn't know the user, refuses, or doesn't have it.
    """
    try:
        yield
    except (PermissionDenied, Unauthenticated) as error:
        msg = f"The workspace refuses to {what} ({_first(error)}): docs/databricks.md lists the rights that are needed."
        raise ComplaintsError(msg) from error
    except NotFound as error:
        msg = missing or f"The workspace can't {what}: {_first(error)}."
        raise ComplaintsError(msg) from error
    except DatabricksError as error:
        msg = f"The workspace can't {what}: {_first(error)}."
        raise ComplaintsError(msg) from error
    except (requests.ConnectionError, TimeoutError) as error:
        msg = "The workspace can't be reached: check DATABRICKS_HOST, the network, and the proxy settings."
        raise ComplaintsError(msg) from error


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")

"""Superset's own virtual environment, `.superset` beside `.venv`: its pins can't live beside ours."""

from pathlib import Path

from lakehouse.errors import ComplaintsError
from lakehouse.setup.install import Environment, SetupError

PROJECT = Path(__file__).resolve().parent.parent


class SupersetEnvironment(Environment):
    """Superset with DuckDB, Databricks and PostgreSQL drivers, as `dashboards/requirements.lock` says."""

    def __init__(self, project: Path = PROJECT) -> None:
        super().__init__(project, ".superset", "dashboards/requirements.lock", "complaints superset install")

    def make(self) -> None:
        """Install what isn't there, or is there half, with progress.

        Raises:
            ComplaintsError: it can't be done; says why and what to do.
        """
        try:
            self.install()
        except (SetupError, OSError) as error:
            raise ComplaintsError(str(error)) from error

"""Superset's own virtual environment, `.superset` next to `.venv`: its pinned versions conflict with ours."""

from pathlib import Path

from lakehouse.errors import ComplaintsError
from lakehouse.setup.install import Environment, SetupError

PROJECT = Path(__file__).resolve().parent.parent


class SupersetEnvironment(Environment):
    """Superset with DuckDB, Databricks and PostgreSQL drivers, from `dashboards/requirements.lock`."""

    def __init__(self, project: Path = PROJECT) -> None:
        super().__init__(project, ".superset", "dashboards/requirements.lock", "complaints superset install")

    def make(self) -> None:
        """Install what is missing or incomplete, with progress.

        Raises:
            ComplaintsError: the installation failed; says why and what to do.
        """
        try:
            self.install()
        except (SetupError, OSError) as error:
            raise ComplaintsError(str(error)) from error

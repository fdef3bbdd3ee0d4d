"""Whether a deploy would succeed, and the deployment's state: one line per check, each problem with its remedy."""

import re
from collections.abc import Sequence
from functools import cache

from databricks.sdk.service.catalog import SecurableType

from deployment.bundle import Bundle, resolved
from deployment.deployment import Deployment, NothingDeployedError, described, find_deployment
from deployment.warehouse import address, progress
from deployment.workspace import asking, connect
from lakehouse.checks import Check, Finding, run_checks
from lakehouse.errors import ComplaintsError

NEEDED = {"USE_CATALOG", "CREATE_SCHEMA"}
_SECRET = re.compile(r"\{\{secrets/[^/}]+/([^}]+)\}\}")  # as a cluster's environment refers to one


class Status:
    """The checks of one target; each calls the workspace by itself, so that they run in parallel.

    Args:
        bundle: the bundle for the target.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.client = cache(connect)
        self.user = cache(self._user)
        self.deployment = cache(self._deployment)
        self._is_deployed = False

    def findings(self) -> list[Finding]:
        """Check what a deploy needs and, when something is deployed, its state."""
        needed = (
            Check("sign-in", self._signed_in),
            Check("variables", self._variables),
            Check("build", self._build),
            Check("catalog", self._catalog, needs=("sign-in", "variables")),
            Check("rights", self._rights, needs=("catalog",)),
            Check("deployed", self._deployed, needs=("sign-in", "variables")),
        )
        shown = (
            Check("secrets", self._secrets),
            Check("jobs", self._jobs),
            Check("model", self._model),
            Check("stream", self._stream),
            Check("superset", self._superset),
        )
        findings = _in_order(needed)
        return findings + _in_order(shown) if self._is_deployed else findings

    def _user(self) -> str:
        with asking("show the current user"):
            return str(self.client().current_user.me().user_name)

    def _deployment(self) -> Deployment:
        return find_deployment(self.client(), self._bundle, self.user())

    def _value(self, name: str) -> str:
        return resolved(self._bundle.value(name), self.user())

    def _signed_in(self) -> str:
        return f"{self.user()} at {self.client().config.host}"

    def _variables(self) -> str:
        for name in self._bundle.missing:
            self._bundle.value(name)
        return f"the target {self._bundle.target} has a value for each of its {len(self._bundle.variables)} variables"

    def _build(self) -> str:
        python = self._bundle.folder / ".venv" / "bin" / "python"
        if not python.exists():
            msg = f"The wheel can't be built: there is no {python.parent.parent}, run `make setup`."
            raise ComplaintsError(msg)
        return "the wheel can be built"

    def _catalog(self) -> str:
        name = self._value("catalog")
        missing = (
            f"The catalog {name} doesn't exist, or {self.user()} can't see it: have an administrator run "
            f"`databricks catalogs create {name}`, or set BUNDLE_VAR_catalog to an existing one."
        )
        with asking(f"show the catalog {name}", missing=missing):
            return f"{name}, owned by {self.client().catalogs.get(name).owner}"

    def _rights(self) -> str:
        name, user = self._value("catalog"), self.user()
        with asking(f"show the privileges on the catalog {name}"):
            if self.client().catalogs.get(name).owner == user:
                return f"{user} owns the catalog"
            found = self.client().grants.get_effective(SecurableType.CATALOG.value, name, principal=user)
        held = {
            privilege.privilege.value
            for assignment in found.privilege_assignments or []
            for privilege in assignment.privileges or []
            if privilege.privilege
        }
        missing = set() if "ALL_PRIVILEGES" in held else NEEDED - held
        if missing:
            privileges = ", ".join(sorted(missing)).replace("_", " ")
            msg = f"{user} may not create schemas: have the owner run GRANT {privileges} ON CATALOG {name} TO `{user}`."
            raise ComplaintsError(msg)
        return f"{user} may create schemas in {name}"

    def _secrets(self) -> str:
        if not self._bundle.value("kafka_servers"):
            return "not needed: kafka_servers is not set, only files are loaded"
        given = self.deployment().settings("stream").values()
        needed = sorted({key for value in given for key in _SECRET.findall(value)})
        if not needed:
            return "not needed: the stream's settings refer to none"
        scope = self._value("secret_scope")
        put = f"`databricks secrets put-secret {scope} KEY`"
        absent = f"There is no secret scope {scope}: deploy again to create it, then set its keys with {put}."
        with asking(f"list the secrets of {scope}", missing=absent):
            found = {secret.key for secret in self.client().secrets.list_secrets(scope)}
        if missing := [key for key in needed if key not in found]:
            msg = f"The scope {scope} has no {' and no '.join(missing)}, so the stream can't start: {put}."
            raise ComplaintsError(msg)
        return f"{scope} has {' and '.join(needed)}"

    def _deployed(self) -> str:
        try:
            deployment = self.deployment()
        except NothingDeployedError as nothing:
            return str(nothing)
        self._is_deployed = True
        return f"commit {deployment.commit[:12] or 'unknown'}, {len(deployment.jobs)} jobs"

    def _jobs(self) -> str:
        deployment = self.deployment()
        runs = [(name, deployment.last_run(name)) for name in sorted(deployment.jobs)]
        return "; ".join(f"{name} {described(run)}" for name, run in runs)

    def _model(self) -> str:
        settings = self.deployment().settings()
        schema = f"{settings['COMPLAINTS_LAKE__CATALOG']}.{settings['COMPLAINTS_LAKE__SCHEMAS__ML']}"
        name = f"{schema}.{settings['COMPLAINTS_ML__MODEL']}"
        with asking(f"show the model {name}"):
            model = self.client().registered_models.get(name, include_aliases=True)
        champion = next((alias.version_num for alias in model.aliases or [] if alias.alias_name == "champion"), None)
        return (
            f"{name}: version {champion} is the champion" if champion else f"{name}: no champion yet, run the job train"
        )

    def _stream(self) -> str:
        deployment = self.deployment()
        run = deployment.last_run("stream")
        if run is None or run.state is None or run.state.result_state is not None:
            return "not running"
        rows = [dict(zip(found.columns, row, strict=True)) for found in [progress(deployment)] for row in found.rows]
        shown = (
            f"{row['query']} {row['rows']} rows in {row['batches']} batches, last {row['last_batch']}" for row in rows
        )
        return "last ten minutes: " + "; ".join(shown) if rows else "running; no batch in the last ten minutes"

    def _superset(self) -> str:
        return f"COMPLAINTS_SUPERSET__WAREHOUSE='{address(self.deployment())}'"


def _in_order(checks: Sequence[Check]) -> list[Finding]:
    """Run the checks and return their findings in the given order."""
    found = {finding.what: finding for finding in run_checks(checks)}
    return [found[check.what] for check in checks]

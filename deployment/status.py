"""Whether a deploy would succeed, and how the deployment does: one check a line, each mistake with its remedy."""

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
KEYS = {"kafka-username", "kafka-password"}


class Status:
    """The checks of one target; each asks the workspace by itself, so that they run side by side.

    Args:
        bundle: the target.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.client = cache(connect)
        self.user = cache(self._user)
        self.deployment = cache(self._deployment)
        self._is_deployed = False

    def findings(self) -> list[Finding]:
        """What a deploy needs, then, when something is deployed, how it does."""
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
        with asking("say who is signed in"):
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
            msg = f"The wheel can't be built: there is no {python.parent.parent} yet, run `make setup`."
            raise ComplaintsError(msg)
        return "the wheel can be built"

    def _catalog(self) -> str:
        name = self._value("catalog")
        missing = (
            f"The catalog {name} isn't there, or isn't shown to {self.user()}: have an administrator run "
            f"`databricks catalogs create {name}`, or set BUNDLE_VAR_catalog to one that is."
        )
        with asking(f"show the catalog {name}", missing=missing):
            return f"{name}, owned by {self.client().catalogs.get(name).owner}"

    def _rights(self) -> str:
        name, user = self._value("catalog"), self.user()
        with asking("tell rights on the catalog"):
            if self.client().catalogs.get(name).owner == user:
                return f"{user} owns the catalog"
            found = self.client().grants.get_effective(SecurableType.CATALOG.value, name, principal=user)
        held = {
            privilege.privilege.value
            for assignment in found.privilege_assignments or []
            for privilege in assignment.privileges or []
            if privilege.privilege
        }
        lacking = set() if "ALL_PRIVILEGES" in held else NEEDED - held
        if lacking:
            wanted = ", ".join(sorted(lacking)).replace("_", " ")
            msg = f"{user} may not make schemas: have the owner run GRANT {wanted} ON CATALOG {name} TO `{user}`."
            raise ComplaintsError(msg)
        return f"{user} may make schemas in {name}"

    def _secrets(self) -> str:
        if not self._bundle.value("kafka_servers"):
            return "not needed: no Kafka is named, files alone are loaded"
        scope = self._value("secret_scope")
        put = f"`databricks secrets put-secret {scope} KEY`"
        missing = f"The secret scope {scope} isn't there: deploy again, which makes it, then put its keys with {put}."
        with asking(f"list the secrets of {scope}", missing=missing):
            lacking = KEYS - {secret.key for secret in self.client().secrets.list_secrets(scope)}
        if lacking:
            msg = (
                f"The scope {scope} lacks {' and '.join(sorted(lacking))}, without which the stream can't start: {put}."
            )
            raise ComplaintsError(msg)
        return f"{scope} holds both of Kafka's"

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
            return "doesn't run"
        rows = [dict(zip(found.columns, row, strict=True)) for found in [progress(deployment)] for row in found.rows]
        shown = (
            f"{row['query']} {row['rows']} rows in {row['batches']} batches, last {row['last_batch']}" for row in rows
        )
        return "in ten minutes: " + "; ".join(shown) if rows else "runs; no batch in the last ten minutes"

    def _superset(self) -> str:
        return f"COMPLAINTS_SUPERSET__WAREHOUSE='{address(self.deployment())}'"


def _in_order(checks: Sequence[Check]) -> list[Finding]:
    """The findings in the order of their checks."""
    found = {finding.what: finding for finding in run_checks(checks)}
    return [found[check.what] for check in checks]

"""SQL queries on the deployed tables, through the deployment's SQL warehouse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from databricks.sdk.service.sql import StatementParameterListItem, StatementResponse, StatementState

from deployment.deployment import Deployment
from deployment.workspace import asking
from lakehouse.errors import ComplaintsError

DECISIONS = """
SELECT complaint_id, date_received, product_family, state, urgency, escalate, team, recommended_action, due_on,
       round(probability, 3) AS probability, model_version
FROM IDENTIFIER(:table) ORDER BY scored_at DESC LIMIT :rows
"""
PROGRESS = """
SELECT query, max(started_at) AS last_batch, count(*) AS batches, sum(rows) AS rows, max(lag_rows) AS waiting
FROM IDENTIFIER(:table) WHERE started_at > current_timestamp() - INTERVAL 10 MINUTES GROUP BY query ORDER BY query
"""


@dataclass(frozen=True)
class Rows:
    """The rows of a query with the columns' names; every value is text, as the warehouse sends it, or None."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | None]]


def sample(deployment: Deployment, rows: int) -> Rows:
    """Return the latest decisions in gold."""
    return _query(deployment, DECISIONS, "decisions", {"rows": rows})


def progress(deployment: Deployment) -> Rows:
    """Return the rows, batches and last batch of each streaming query in the last ten minutes."""
    return _query(deployment, PROGRESS, "stream_health", {})


def address(deployment: Deployment) -> str:
    """Return the warehouse's SQLAlchemy URL, which Superset uses; it does not contain the token."""
    settings = deployment.settings()
    host = str(deployment.client.config.host).partition("://")[2]
    schema = f"catalog={settings['COMPLAINTS_LAKE__CATALOG']}&schema={settings['COMPLAINTS_LAKE__SCHEMAS__GOLD']}"
    return f"databricks://token@{host}?http_path=/sql/1.0/warehouses/{_warehouse_of(deployment)}&{schema}"


def _query(deployment: Deployment, statement: str, table: str, parameters: Mapping[str, int]) -> Rows:
    settings = deployment.settings()
    name = f"{settings['COMPLAINTS_LAKE__CATALOG']}.{settings['COMPLAINTS_LAKE__SCHEMAS__GOLD']}.{table}"
    given = [StatementParameterListItem(name="table", value=name)]
    given += [StatementParameterListItem(key, "INT", str(value)) for key, value in parameters.items()]
    with asking("run SQL"):
        answer = deployment.client.statement_execution.execute_statement(
            statement, _warehouse_of(deployment), parameters=given, wait_timeout="50s"
        )
    return answered(answer)


def _warehouse_of(deployment: Deployment) -> str:
    name, listed = f"complaints-{deployment.target}", deployment.client.warehouses.list
    with asking("list the SQL warehouses"):
        found = next((str(each.id) for each in listed() if str(each.name).endswith(name)), None)
    if found is None:
        msg = f"There is no SQL warehouse {name}: deploy the bundle, which creates it, or ask for permission to use it."
        raise ComplaintsError(msg)
    return found


def answered(answer: StatementResponse) -> Rows:
    """Return the rows of a finished statement.

    Raises:
        ComplaintsError: the statement failed, or has not finished.
    """
    state = answer.status.state if answer.status else None
    if state is not StatementState.SUCCEEDED:
        error = answer.status.error if answer.status else None
        why = error.message if error else f"its state is {state.value.lower() if state else 'unknown'}"
        msg = f"The SQL statement did not succeed: {str(why).rstrip('.')}."
        raise ComplaintsError(msg)
    schema = answer.manifest.schema if answer.manifest else None
    columns = [str(column.name) for column in (schema.columns if schema else None) or []]
    return Rows(columns, (answer.result.data_array if answer.result else None) or [])

"""Updates Superset's metadata from the project: schema, roles, accounts, and the dashboards as code.

Runs in Superset's own Python with a JSON object on standard input; the last line of its output is a JSON object.
`{"do": "configure", "assets": {path: text}, "accounts": {name: password}}` creates missing accounts and imports
everything; `{"do": "password", …}` sets the passwords of `accounts`; `{"do": "export"}` returns the assets.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import g
from superset.app import create_app

DATABASE = "lakehouse"
SCHEMAS = ("gold", "serving")
ROLES = {"admin": "Admin", "operator": "Complaint operator", "analyst": "Complaint analyst"}
# What an analyst may write: the state of a page, and links to it. Nothing that changes what other users see.
OWN_STATE = frozenset(
    {"DashboardFilterStateRestApi", "DashboardPermalinkRestApi", "ExploreFormDataRestApi", "ExplorePermalinkRestApi"}
)
CHANGES = ("write", "add", "edit", "delete", "import", "upload", "save", "update", "post", "put", "activate")
# Drilling from a chart to its rows, which Superset's own roles leave out; only for datasets that a role may read.
DRILLING = (("can_samples", "Datasource"), ("can_get_column_values", "Datasource"))
REACHES_ELSEWHERE = frozenset({"ImportExportRestApi", "Upload a CSV", "Row Level Security", "Alerts & Report"})


def configure(assets: Mapping[str, str], accounts: Mapping[str, str]) -> dict[str, Any]:
    """Upgrade the metadata, import the assets, define the roles, and create missing accounts."""
    from flask_migrate import upgrade
    from superset import appbuilder, db, security_manager

    upgrade(_migrations())
    appbuilder.add_permissions(update_perms=True)
    security_manager.sync_role_definitions()
    made = [name for name in accounts if security_manager.find_user(username=name) is None]
    for name in made:
        _define_role(name, ())
        _make_account(name, accounts[name])
    g.user = security_manager.find_user(username="admin")
    imported = _import(assets)
    for name in ROLES:
        _define_role(name, _data_permissions())
    db.session.commit()
    return {"made": made, **imported}


def password(accounts: Mapping[str, str]) -> dict[str, Any]:
    """Set the passwords of accounts."""
    from superset import security_manager

    unknown = [name for name in accounts if security_manager.find_user(username=name) is None]
    for name in accounts.keys() - set(unknown):
        security_manager.reset_password(security_manager.find_user(username=name).id, accounts[name])
    return {"unknown": unknown}


def export() -> dict[str, Any]:
    """Every dashboard, chart, dataset, saved query and the database, as Superset exports them, by path."""
    from superset import db, security_manager
    from superset.commands.dashboard.export import ExportDashboardsCommand
    from superset.models.dashboard import Dashboard

    g.user = security_manager.find_user(username="admin")
    ids = [number for (number,) in db.session.query(Dashboard.id).order_by(Dashboard.id)]
    return {"assets": {name: content() for name, content in ExportDashboardsCommand(ids).run()}}


def _import(assets: Mapping[str, str]) -> dict[str, int]:
    from superset.commands.importers.v1.assets import ImportAssetsCommand

    ImportAssetsCommand(dict(assets)).run()
    folders = [name.split("/")[0] for name in assets]
    return {kind: folders.count(kind) for kind in ("dashboards", "charts", "datasets", "queries")}


def _make_account(name: str, secret: str) -> None:
    from superset import security_manager

    role = security_manager.find_role(ROLES[name])
    security_manager.add_user(name, name.capitalize(), "account", f"{name}@localhost", role, password=secret)


def _define_role(name: str, data: tuple[Any, ...]) -> None:
    """Set a role's permissions: an operator gets those of Superset's users, an analyst only those that read."""
    from superset import security_manager

    if name == "admin":
        return
    role = security_manager.add_role(ROLES[name])
    base = [p for source in ("Gamma", "sql_lab") for p in security_manager.find_role(source).permissions]
    kept = {p for p in base if name == "operator" or _only_reads(p.permission.name, p.view_menu.name)}
    drilling = (security_manager.add_permission_view_menu(*names) for names in DRILLING)
    role.permissions = [*kept, *drilling, *data]


def _only_reads(permission: str, view: str) -> bool:
    if view in REACHES_ELSEWHERE:
        return False
    return view in OWN_STATE or not any(word in permission for word in CHANGES)


def _data_permissions() -> tuple[Any, ...]:
    """Reading the datasets, and in SQL Lab the tables of gold and the views over them; nothing else of the lake."""
    return tuple(_found_data_permissions())


def _found_data_permissions() -> Iterator[Any]:
    from superset import db, security_manager
    from superset.connectors.sqla.models import SqlaTable
    from superset.models.core import Database

    database = db.session.query(Database).filter_by(database_name=DATABASE).one()
    for dataset in db.session.query(SqlaTable).filter_by(database_id=database.id):
        yield security_manager.add_permission_view_menu("datasource_access", dataset.perm)
    for schema in SCHEMAS:
        name = security_manager.get_schema_perm(DATABASE, database.get_default_catalog(), schema)
        yield security_manager.add_permission_view_menu("schema_access", name)


def _migrations() -> str:
    from importlib.resources import files

    return str(files("superset").joinpath("migrations"))


DOES: Mapping[str, Callable[..., dict[str, Any]]] = {"configure": configure, "password": password, "export": export}


def main() -> None:
    """Do what standard input requests."""
    asked = json.load(sys.stdin)
    with create_app().app_context():
        print(json.dumps(DOES[asked.pop("do")](**asked)))


if __name__ == "__main__":
    main()

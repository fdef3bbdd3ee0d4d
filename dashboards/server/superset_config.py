"""Superset's configuration. Runs in Superset's own Python; what it needs is in `LAKE_SUPERSET_HOME`.

The folder holds the secret key, the metadata (unless `LAKE_SUPERSET_METADATA` names a database), the caches and the
description of the views.
"""

import os
from pathlib import Path
from typing import Any

import row_cache
from sqlalchemy.dialects import registry
from sqlalchemy.engine.url import URL

HOME = Path(os.environ["LAKE_SUPERSET_HOME"])
DAY = 24 * 60 * 60

registry.register("duckdb.lake", "lake_dialect", "LakeDialect")

SECRET_KEY = (HOME / "secret_key").read_text(encoding="utf-8").strip()
SQLALCHEMY_DATABASE_URI = os.environ.get("LAKE_SUPERSET_METADATA") or f"sqlite:///{HOME / 'metadata.db'}"

# Sessions and headers. Talisman adds the secure headers; a plain http server on loopback can't require https.
WTF_CSRF_ENABLED = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = os.environ.get("LAKE_SUPERSET_HTTPS") == "1"
TALISMAN_ENABLED = True
# Superset's own policy without external addresses: no telemetry pixel, no map tiles, no fonts.
TALISMAN_CONFIG = {
    "content_security_policy": {
        "base-uri": ["'self'"],
        "default-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "worker-src": ["'self'", "blob:"],
        "connect-src": ["'self'"],
        "object-src": "'none'",
        "style-src": ["'self'", "'unsafe-inline'"],
        "font-src": ["'self'"],
        "script-src": ["'self'", "'strict-dynamic'"],
        "frame-ancestors": ["'self'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "force_https": False,
    "session_cookie_secure": SESSION_COOKIE_SECURE,
}
AUTH_ROLE_PUBLIC = "Public"
AUTH_RATE_LIMITED = True
PUBLIC_ROLE_LIKE = None
FAB_ADD_SECURITY_API = False
ENABLE_PROXY_FIX = False

# No telemetry, no external content, no SQL templates.
FEATURE_FLAGS = {
    "ENABLE_TEMPLATE_PROCESSING": False,
    "ALERT_REPORTS": False,
    "DRILL_BY": True,
    "DRILL_TO_DETAIL": True,
    "DASHBOARD_VIRTUALIZATION": False,
}
SLACK_API_TOKEN = None
MAPBOX_API_KEY = ""

ROW_LIMIT = 10_000
SQL_MAX_ROW = 10_000
SQLLAB_TIMEOUT = 60  # its signal needs the main thread: the limit that holds is the dialect's, by the settings `sql`
SUPERSET_WEBSERVER_TIMEOUT = 60
RATELIMIT_STORAGE_URI = "memory://"
LOG_LEVEL = "WARNING"
WELCOME_PAGE_LAST_TAB = "all"
APP_NAME = "Complaint lakehouse"


def cache(name: str, seconds: int) -> dict[str, Any]:
    """A cache in a folder, shared by the server's workers."""
    return {
        "CACHE_TYPE": "FileSystemCache",
        "CACHE_DIR": str(HOME / "cache" / name),
        "CACHE_DEFAULT_TIMEOUT": seconds,
        "CACHE_THRESHOLD": 5_000,
    }


CACHE_CONFIG = cache("metadata", DAY)
DATA_CACHE_CONFIG = cache("data", row_cache.KEPT_SECONDS)
FILTER_STATE_CACHE_CONFIG = cache("filters", 90 * DAY)
EXPLORE_FORM_DATA_CACHE_CONFIG = cache("explore", 7 * DAY)


def lookup_password(url: URL) -> str | None:
    """The password of a database URL: a Databricks token comes from the environment, never from metadata."""
    if url.get_backend_name() == "databricks":
        return os.environ.get("DATABRICKS_TOKEN")
    return None


SQLALCHEMY_CUSTOM_PASSWORD_STORE = lookup_password


DRIVERS = ("duckdb+lake", "databricks")


def refuse_other_databases(url: URL) -> None:
    """Refuse any database but the lake's: plain DuckDB would have no guard, and every file to read."""
    if url.drivername not in DRIVERS:
        msg = f"Only {' and '.join(DRIVERS)} can be connected to."
        raise ValueError(msg)


DB_SQLA_URI_VALIDATOR = refuse_other_databases

"""Tokens for OAUTHBEARER by client credentials (RFC 6749, section 4.4), for kafka-python's clients.

Spark's clients request theirs by themselves, from the same endpoint and as the same client.
"""

import base64
import json
import ssl
import threading
import time
import urllib.parse
from functools import cache

from kafka.net.sasl.oauth import AbstractTokenProvider

from lakehouse.errors import ComplaintsError
from lakehouse.settings_sections import OAuthSettings
from lakehouse.web import PostError, post

SECONDS = 10
_USED_SHARE = 0.8  # of a token's lifetime; Kafka's Java clients also renew it then


class Tokens(AbstractTokenProvider):  # type: ignore[misc]
    """Provides a valid token, which all clients of the process share.

    Args:
        oauth: the settings, with token_url, client_id and client_secret given.
    """

    def __init__(self, oauth: OAuthSettings) -> None:
        super().__init__()
        self._oauth = oauth
        self._lock = threading.Lock()
        self._token = ""
        self._renewed_at = 0.0

    def token(self) -> str:
        """Return a token, requested when there is none or most of its lifetime has passed.

        Raises:
            ComplaintsError: the endpoint can't be reached, rejects the client, or answers without a token.
        """
        with self._lock:
            if time.monotonic() >= self._renewed_at:
                began = time.monotonic()
                self._token, lifetime = self._requested()
                self._renewed_at = began + _USED_SHARE * lifetime
            return self._token

    def _requested(self) -> tuple[str, float]:
        oauth = self._oauth
        secret = oauth.client_secret.get_secret_value() if oauth.client_secret else ""
        client = base64.b64encode(f"{oauth.client_id}:{secret}".encode()).decode()
        form = {"grant_type": "client_credentials"} | ({"scope": oauth.scope} if oauth.scope else {})
        headers = {"Authorization": f"Basic {client}", "Accept": "application/json"}
        trust = ssl.create_default_context(cafile=oauth.ca_file) if oauth.ca_file else None
        body = urllib.parse.urlencode(form).encode()
        try:
            answer = json.loads(post(str(oauth.token_url), body, headers, seconds=SECONDS, trust=trust))
            return str(answer["access_token"]), float(answer.get("expires_in", 0))
        except PostError as error:
            raise self._failed(str(error)) from None
        except (ValueError, KeyError, TypeError, AttributeError):  # the answer may contain a token: not shown
            reason = "it answered without an access_token"
            raise self._failed(reason) from None

    def _failed(self, reason: str) -> ComplaintsError:
        return ComplaintsError(
            f"The token endpoint {self._oauth.token_url} gave no token ({reason}): check kafka.oauth.token_url, "
            "client_id, scope and ca_file, and COMPLAINTS_KAFKA__OAUTH__CLIENT_SECRET."
        )


@cache
def tokens(oauth: OAuthSettings) -> Tokens:
    """Return the one provider of these settings, so that its token is shared."""
    return Tokens(oauth)

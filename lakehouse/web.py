"""Post to an address of the settings: without redirects, and with errors that show nothing of what was sent."""

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping


class PostError(Exception):
    """A post failed; the message says why, in words that contain neither the address nor what was sent."""


def post(
    address: str, body: bytes, headers: Mapping[str, str], *, seconds: float, trust: ssl.SSLContext | None = None
) -> bytes:
    """Post to an http or https address and return the body of the answer.

    Args:
        address: an address that the settings have validated; redirects are not followed.
        body: what is sent.
        headers: added to the request.
        seconds: how long to wait for an answer.
        trust: the authorities that are trusted with https; None trusts those that Python trusts.

    Raises:
        PostError: there was no answer, or an answer other than success.
    """
    request = urllib.request.Request(address, body, dict(headers))  # noqa: S310 - as checked
    try:
        with _opener(trust).open(request, timeout=seconds) as answer:
            return bytes(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise PostError(_reason(error, seconds)) from None  # the error may contain the address, which may be a secret


def _opener(trust: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """Return an opener for http and https that follows no redirects: only the configured address is used."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=trust),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _reason(error: Exception, seconds: float) -> str:
    found = getattr(error, "reason", error)
    match error, found:
        case urllib.error.HTTPError(), _:
            return f"it answered {error.code}"
        case _, TimeoutError():
            return f"no answer for {seconds:g} s"
        case _, ssl.SSLError():
            return "its certificate is not trusted, or it does not speak TLS"
        case _, OSError(strerror=str()):
            return str(found.strerror)
        case _:
            return "its address can't be used"

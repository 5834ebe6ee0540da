"""Why the bus cannot be reached, as a sentence that names the setting and no password (shell: nats)."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

import nats.errors


def explain(url: str, error: Exception) -> str:
    """Why connecting to `url` failed, as a sentence."""
    server = without_credentials(url)
    text = sentence(error)
    lower = text.lower()
    if "authorization" in lower or "authentication" in lower:
        return f"{server} refused the sign-in ({text}); check NATS_USER, NATS_PASSWORD, NATS_TOKEN, credentials"
    if isinstance(error, ssl.SSLError):
        return f"{server}: TLS failed ({text}); check NATS_TLS_CA_FILE"
    if isinstance(error, nats.errors.NoServersError | OSError | TimeoutError):
        return f"cannot reach {server} ({text}); is a nats-server running there? NATS_URL says where"
    return f"{server}: {text}"


def sentence(error: BaseException) -> str:
    """An error's text; its class name where it has none."""
    return str(error) or type(error).__name__


def without_credentials(url: str) -> str:
    """Scheme, host and port of `url`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

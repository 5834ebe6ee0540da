"""Who may listen: JSON Web Tokens, where AURALIS_JWT_KEY is set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import jwt

_SHARED_SECRET: Final = ("HS256", "HS384", "HS512")
_PUBLIC_KEY: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")


class TokenChecker:
    """Checks a listener's token: signature, expiry, and audience where one is set.

    Args:
        key: a shared secret, or a public key in PEM.
        audience: what `aud` must name; empty: tokens must not name one.
    """

    def __init__(self, key: str, audience: str = "") -> None:
        self._key = key
        self._audience = audience or None
        # Which algorithms fit is decided by the key and never by the token: a public key is no shared secret.
        self._algorithms = _PUBLIC_KEY if key.lstrip().startswith("-----BEGIN") else _SHARED_SECRET

    def refusal(self, token: str | None) -> str | None:
        """None if the token is good; otherwise a sentence for the listener."""
        if not token:
            return "a token is needed: send it as 'Authorization: Bearer …' or as ?token=…"
        try:
            jwt.decode(
                token,
                self._key,
                algorithms=list(self._algorithms),
                audience=self._audience,
                options={"require": ["exp"]},
            )
        except jwt.ExpiredSignatureError:
            return "the token has expired; get a new one"
        except jwt.PyJWTError as error:
            return f"the token is not accepted: {error}"
        return None


def find_token(headers: Mapping[str, str], query_string: str) -> str | None:
    """The token that a request carries, from its header or its query.

    Args:
        headers: lower-case names.
        query_string: without the question mark.
    """
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    values: list[Any] = parse_qs(query_string).get("token", [])
    return str(values[0]) if values else None

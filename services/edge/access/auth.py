"""Pure: JSON Web Tokens, which allow their bearer to listen where AURALIS_JWT_KEY is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import parse_qs

import jwt

from services.contract.spec import StreamSpec
from services.edge.access.refusal import Refusal

_SHARED_SECRET: Final = ("HS256", "HS384", "HS512")
_PUBLIC_KEY: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")

STREAMS_CLAIM: Final = "streams"
"""Claim with the stream ids that a token allows; `*` matches anything: ["c-dorian-*"]. Without it: every stream.

A stream whose brightness, density, texture or levels are not at their default has another id, with more behind the
seed: ["c-dorian-70-50-drift-0", "c-dorian-70-50-drift-0-*"] allows one stream however these are set.
"""
MAX_PATTERNS: Final = 100
"""Patterns of a token that count; further ones allow nothing. All of them may be compared at each change of stream."""
FORBIDDEN: Final = "the token does not allow this stream; choose another"
"""Error text for a listener whose token is accepted and names other streams."""


class TokenError(ValueError):
    """A token is not accepted; the message says why."""


@dataclass(frozen=True, slots=True)
class Permit:
    """The streams that a listener may hear.

    Attributes:
        patterns: stream ids, in which `*` matches anything; None: every stream.
    """

    patterns: tuple[str, ...] | None = None

    def allows(self, stream_id: str) -> bool:
        """Whether the listener may hear the stream."""
        return self.patterns is None or any(fnmatchcase(stream_id, pattern) for pattern in self.patterns)


class TokenChecker:
    """Checks tokens: signature, expiry, and audience if there is one.

    Args:
        key: a shared secret, or a public key in PEM.
        audience: what `aud` must name; empty: tokens must not name one.
    """

    def __init__(self, key: str, audience: str = "") -> None:
        self._key = key
        self._audience = audience or None
        # The key decides which algorithms fit, never the token: a public key must not serve as a shared secret.
        self._algorithms = _PUBLIC_KEY if key.lstrip().startswith("-----BEGIN") else _SHARED_SECRET

    def read(self, token: str | None) -> Permit:
        """The streams that the token allows.

        Raises:
            TokenError: the token is not accepted; the message tells the listener why.
        """
        if not token:
            raise TokenError("a token is needed: send it as 'Authorization: Bearer …' or as ?token=…")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=list(self._algorithms),
                audience=self._audience,
                options={"require": ["exp"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenError("the token has expired; get a new one") from error
        except jwt.PyJWTError as error:
            raise TokenError(f"the token is not accepted: {error}") from error
        patterns = claims.get(STREAMS_CLAIM)
        if patterns is None:
            return Permit()
        if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
            # A limit that cannot be read must not count as no limit.
            raise TokenError(f"the token is not accepted: '{STREAMS_CLAIM}' is not a list of stream ids")
        return Permit(tuple(patterns[:MAX_PATTERNS]))

    def refusal(self, token: str | None, spec: StreamSpec) -> Refusal | None:
        """401 if the token is not accepted, 403 if it does not allow its bearer to hear `spec`; else None."""
        try:
            permit = self.read(token)
        except TokenError as error:
            return Refusal(401, "token", str(error))
        return None if permit.allows(spec.stream_id) else Refusal(403, "token", FORBIDDEN)


def find_token(headers: Mapping[str, str], query_string: str) -> str | None:
    """The token of a request, from its `Authorization` header or its query; None without one.

    Args:
        headers: by lower-case name.
        query_string: without the question mark.
    """
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    values: list[Any] = parse_qs(query_string).get("token", [])
    return str(values[0]) if values else None

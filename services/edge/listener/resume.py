"""Resume tokens: a signed note of where a listener was, for its next connection, on this pod or another.

A token says "stream, next chunk, good until" and is signed, so that only an edge with the same secret takes it. It is
no proof of identity: where listeners sign in, they sign in again.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from services.contract.errors import FieldError
from services.contract.spec import StreamSpec
from services.contract.timebase import MAX_TICK

VALID_S: Final = 60
_SIGNATURE_BYTES: Final = 16
_FINAL: Final = "f"
_SO_FAR: Final = "s"


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a listener was.

    Attributes:
        stream_id: what it heard.
        chunk_id: the next chunk that it would have been sent.
        final: nothing was sent after the token was issued, so `chunk_id` is exact. Otherwise it is a lower bound.
    """

    stream_id: str
    chunk_id: int
    final: bool = False


def issue(secret: bytes, point: ResumePoint, now_s: float) -> str:
    """A token that `read` takes for 60 s: at most 100 characters, so that it fits into a close frame's reason."""
    body = f"{point.stream_id}.{point.chunk_id}.{int(now_s) + VALID_S}.{_FINAL if point.final else _SO_FAR}"
    return f"{body}.{_sign(secret, body)}"


def read(secret: bytes, token: str, now_s: float) -> ResumePoint | None:
    """What the token says; None if it is not ours, was changed, or is too old."""
    if not token.isascii():
        return None
    body, _, signature = token.rpartition(".")
    # Signed bytes are compared before anything in them is believed.
    if not hmac.compare_digest(signature.encode(), _sign(secret, body).encode()):
        return None
    parts = body.split(".")
    if len(parts) != 4 or not (parts[1].isdigit() and parts[2].isdigit()):
        return None
    stream_id, chunk_id, until_s = parts[0], int(parts[1]), int(parts[2])
    if now_s > until_s or chunk_id > MAX_TICK:
        return None
    try:
        StreamSpec.from_id(stream_id)
    except FieldError:
        # Signed by a build that knew other presets.
        return None
    return ResumePoint(stream_id, chunk_id, parts[3] == _FINAL)


def _sign(secret: bytes, body: str) -> str:
    digest = hmac.digest(secret, body.encode(), sha256)[:_SIGNATURE_BYTES]
    return urlsafe_b64encode(digest).rstrip(b"=").decode()

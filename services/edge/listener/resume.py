"""Pure: resume tokens: signed notes of a listener's place, for its next connection.

A token names the stream, the next chunk and the time until which it is valid. It is signed, so that only an edge with
the same secret accepts it. It does not prove identity: where listeners sign in, they sign in again.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from services.contract.timebase import MAX_TICK

VALID_S: Final = 60
"""How long a token is valid."""
_SIGNATURE_BYTES: Final = 16
"""Of the 32 bytes of the HMAC-SHA256."""
_MAX_NAME_CHARS: Final = 64
"""A longer stream id would not fit into the reason of a close frame, so the token holds its hash."""
_HASH_CHARS: Final = 32
_FINAL: Final = "f"
_SO_FAR: Final = "s"


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A place in a stream.

    Attributes:
        stream_id: the stream that it heard; in a point that was read, perhaps its hash. See `is_in`.
        chunk_id: the next chunk that it would have been sent.
        final: nothing was sent after the token was issued, so `chunk_id` is exact. Otherwise it is a lower bound.
    """

    stream_id: str
    chunk_id: int
    final: bool = False

    def is_in(self, stream_id: str) -> bool:
        """Whether it is a place in this stream."""
        return _name(self.stream_id) == _name(stream_id)


def issue(secret: bytes, point: ResumePoint, now_s: float) -> str:
    """A token for `point`, valid for `VALID_S` from `now_s` (unix seconds) on.

    Returns:
        At most 100 characters, so that the token fits into the reason of a close frame.
    """
    body = f"{_name(point.stream_id)}.{point.chunk_id}.{int(now_s) + VALID_S}.{_FINAL if point.final else _SO_FAR}"
    return f"{body}.{_sign(secret, body)}"


def read(secret: bytes, token: str, now_s: float) -> ResumePoint | None:
    """The point that a token names; None: the token is not ours, was changed, or is too old."""
    if not token.isascii():
        return None
    body, _, signature = token.rpartition(".")
    # The signature is compared before anything in the body is believed.
    if not hmac.compare_digest(signature.encode(), _sign(secret, body).encode()):
        return None
    parts = body.split(".")
    if len(parts) != 4 or not (parts[1].isdigit() and parts[2].isdigit()):
        return None
    stream_id, chunk_id, until_s = parts[0], int(parts[1]), int(parts[2])
    if now_s > until_s or chunk_id > MAX_TICK:
        return None
    return ResumePoint(stream_id, chunk_id, parts[3] == _FINAL)


def _name(stream_id: str) -> str:
    return stream_id if len(stream_id) <= _MAX_NAME_CHARS else sha256(stream_id.encode()).hexdigest()[:_HASH_CHARS]


def _sign(secret: bytes, body: str) -> str:
    digest = hmac.digest(secret, body.encode(), sha256)[:_SIGNATURE_BYTES]
    return urlsafe_b64encode(digest).rstrip(b"=").decode()

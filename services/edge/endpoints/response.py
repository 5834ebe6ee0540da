"""Whole HTTP responses over ASGI (shell)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from services.edge.access.refusal import Refusal
from services.edge.wire.asgi import Send

Header = tuple[bytes, bytes]

NO_STORE: Final[Header] = (b"cache-control", b"no-store")


class HttpError(Exception):
    """A request that is not served.

    Args:
        status: HTTP status, 400 or above.
        text: what a person reads.
        headers: of the response, beside its type.
    """

    def __init__(self, status: int, text: str, headers: Iterable[Header] = ()) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status
        self.text = text
        self.headers = tuple(headers)

    @classmethod
    def from_refusal(cls, refusal: Refusal) -> HttpError:
        """The response that says why a listener is not accepted."""
        retry_after_s = refusal.retry_after_s
        headers = [] if retry_after_s is None else [(b"retry-after", str(retry_after_s).encode())]
        return cls(refusal.status, refusal.text, headers)


async def send_body(send: Send, media_type: str, body: bytes, headers: Iterable[Header] = (), *, head: bool) -> None:
    """Answer 200 with `body`, which caches must not keep.

    Args:
        send: the ASGI callable.
        media_type: of the body.
        body: all of it.
        headers: beside type, length and caching.
        head: the request is a HEAD: send the headers alone.
    """
    length = str(len(body)).encode()
    first = [(b"content-type", media_type.encode()), (b"content-length", length), NO_STORE]
    await send({"type": "http.response.start", "status": 200, "headers": [*first, *headers]})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def send_error(send: Send, error: HttpError, *, message_type: str = "http.response") -> None:
    """Answer with the error's status and text.

    Args:
        send: the ASGI callable.
        error: the answer.
        message_type: "http.response", or "websocket.http.response" instead of an upgrade.
    """
    headers = [(b"content-type", b"text/plain; charset=utf-8"), NO_STORE, *error.headers]
    await send({"type": f"{message_type}.start", "status": error.status, "headers": headers})
    await send({"type": f"{message_type}.body", "body": error.text.encode() + b"\n"})

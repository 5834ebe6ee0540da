"""The common base of HTTP endpoints (shell): methods, query, token, errors as answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from http import HTTPStatus

from services.contract.errors import FieldError
from services.contract.spec import StreamSpec
from services.edge.access.auth import TokenChecker, find_token
from services.edge.endpoints.request import Request
from services.edge.endpoints.response import HttpError, send_error
from services.edge.wire.asgi import Receive, Scope, Send


class GetEndpoint(ABC):
    """An ASGI application that serves GET and HEAD."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, of scope type "http"."""
        request = Request.from_scope(scope)
        if request.method not in ("GET", "HEAD"):
            await send_error(send, HttpError(405, "only GET and HEAD", [(b"allow", b"GET, HEAD")]))
            return
        try:
            await self.get(request, receive, send)
        except HttpError as error:
            await send_error(send, error)

    @abstractmethod
    async def get(self, request: Request, receive: Receive, send: Send) -> None:
        """Answer a GET or HEAD.

        Raises:
            HttpError: the answer, if nothing has been sent yet.
        """


def parsed[T](parse: Callable[[str], T], request: Request) -> T:
    """The request's query, read by `parse`.

    Raises:
        HttpError: 400; the text names the field.
    """
    try:
        return parse(request.query)
    except (FieldError, ValueError) as error:
        raise HttpError(400, str(error)) from error


def check_token(
    tokens: TokenChecker | None, request: Request, spec: StreamSpec, count_refusal: Callable[[str], None]
) -> None:
    """Refuse a listener whose token does not allow it to hear `spec`.

    Args:
        tokens: None: no token is needed.
        request: may carry a token.
        spec: the stream.
        count_refusal: called with the reason of a refusal.

    Raises:
        HttpError: 401 without an accepted token, 403 with one that names other streams.
    """
    refusal = None if tokens is None else tokens.refusal(find_token(request.headers, request.query), spec)
    if refusal is not None:
        count_refusal(refusal.reason)
        challenge = [(b"www-authenticate", b"Bearer")] if refusal.status == HTTPStatus.UNAUTHORIZED else []
        raise HttpError(refusal.status, refusal.text, challenge)

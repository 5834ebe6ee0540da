"""Errors of the client. Pure."""

from __future__ import annotations


class ClientError(Exception):
    """The stream cannot be received; the message says why and what to do."""


class RefusedError(ClientError):
    """The edge refused the connection or ended it.

    Attributes:
        code: WebSocket close code, or the HTTP status of a refused upgrade.
        retry_after_s: seconds after which the edge asks to try again; None: it does not say.
    """

    def __init__(self, message: str, *, code: int, retry_after_s: float | None = None) -> None:
        self.code = code
        self.retry_after_s = retry_after_s
        super().__init__(message)

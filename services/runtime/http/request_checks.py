"""Pure: what a request's line and headers must be like before anything acts on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from services.runtime.http.hosts import well_formed

MAX_REQUEST_BYTES: Final = 64 * 1024
"""Longest request line with headers. The parser has no limit and keeps them until they are complete."""
MAX_BODY_BYTES: Final = 64 * 1024
"""Longest body. No address of Auralis reads one."""
MAX_UPGRADE_LINE_BYTES: Final = 8192
"""Longest request line, and longest header line, of a WebSocket's request; the library that reads it takes no more."""
MAX_UPGRADE_HEADERS: Final = 128
"""Most headers of a WebSocket's request, for the same reason."""

RejectionReason = Literal["malformed", "host", "too_long", "body", "pipeline", "upgrade"]
"""Values of the label `reason` for requests that are refused unread."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request that no application sees.

    Attributes:
        status: HTTP status of the answer.
        reason: label of the metric that counts it.
        text: what a person reads.
    """

    status: int
    reason: RejectionReason
    text: str


MALFORMED: Final = Rejection(400, "malformed", "this is not an HTTP request")
LINE_TOO_LONG: Final = Rejection(414, "too_long", f"request line: expected at most {MAX_REQUEST_BYTES} bytes")
HEADERS_TOO_LONG: Final = Rejection(
    431, "too_long", f"request line and headers: expected at most {MAX_REQUEST_BYTES} bytes"
)
BODY_TOO_LONG: Final = Rejection(413, "body", f"body: expected at most {MAX_BODY_BYTES} bytes")

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, and values, in order."""


def check_head(headers: Headers, *, http_version: str) -> Rejection | None:
    """A rejection if the headers are not those of a request (RFC 9112, sections 3.2 and 6.3)."""
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and http_version != "1.0"):
        return Rejection(400, "host", f"Host: got {len(hosts)} of them, expected one")
    if hosts and not well_formed(hosts[0].strip()):
        return Rejection(400, "host", "Host: expected a name or an address, and perhaps a port")
    length = _content_length(headers)
    return BODY_TOO_LONG if length > MAX_BODY_BYTES else None


def check_upgrade(url: bytes, headers: Headers) -> Rejection | None:
    """A rejection if the WebSocket library could not read this request; it would leave it without an answer."""
    if any(name == b"transfer-encoding" for name, _ in headers) or _content_length(headers):
        return Rejection(400, "upgrade", "a request for a WebSocket has no body")
    # The line as the library gets it: method, address and version.
    if len(url) + len(b"GET  HTTP/1.1\r\n") > MAX_UPGRADE_LINE_BYTES:
        return Rejection(414, "upgrade", f"request line: expected at most {MAX_UPGRADE_LINE_BYTES} bytes")
    if len(headers) > MAX_UPGRADE_HEADERS:
        return Rejection(431, "upgrade", f"got {len(headers)} headers, expected at most {MAX_UPGRADE_HEADERS}")
    if any(len(name) + len(value) + len(b": \r\n") > MAX_UPGRADE_LINE_BYTES for name, value in headers):
        return Rejection(431, "upgrade", f"a header: expected at most {MAX_UPGRADE_LINE_BYTES} bytes")
    return None


def _content_length(headers: Headers) -> int:
    lengths = [value.strip() for name, value in headers if name == b"content-length"]
    # The parser has refused what is no number; converting a number of many digits is slow.
    return max(
        (int(value) if len(value) <= len(str(2**63)) else 2**63 for value in lengths if value.isdigit()), default=0
    )

from __future__ import annotations

import pytest

from services.runtime.http.request_checks import (
    MAX_BODY_BYTES,
    MAX_UPGRADE_HEADERS,
    MAX_UPGRADE_LINE_BYTES,
    check_head,
    check_upgrade,
)

HOST = (b"host", b"a")


def status(rejection: object) -> int | None:
    return getattr(rejection, "status", None)


@pytest.mark.parametrize(
    ("headers", "http_version", "expected"),
    [
        ([HOST], "1.1", None), ([(b"host", b"")], "1.1", None), ([], "1.0", None), ([HOST], "1.0", None),
        ([], "1.1", 400), ([HOST, HOST], "1.1", 400), ([HOST, HOST], "1.0", 400), ([(b"host", b"a b")], "1.1", 400),
        ([HOST, (b"content-length", str(MAX_BODY_BYTES).encode())], "1.1", None),
        ([HOST, (b"content-length", str(MAX_BODY_BYTES + 1).encode())], "1.1", 413),
        ([HOST, (b"content-length", b"9" * 5000)], "1.1", 413),
    ],
)  # fmt: skip
def test_a_request_has_one_host_and_a_short_body(
    headers: list[tuple[bytes, bytes]], http_version: str, expected: int | None
) -> None:
    assert status(check_head(headers, http_version=http_version)) == expected


LONGEST_PATH = MAX_UPGRADE_LINE_BYTES - len("GET  HTTP/1.1\r\n")
LONGEST_VALUE = MAX_UPGRADE_LINE_BYTES - len("x: \r\n")


@pytest.mark.parametrize(
    ("url", "headers", "expected"),
    [
        (b"/ws", [HOST], None), (b"/ws", [HOST, (b"content-length", b"0")], None),
        (b"/ws", [HOST, (b"content-length", b"3")], 400), (b"/ws", [HOST, (b"transfer-encoding", b"chunked")], 400),
        (b"/" * LONGEST_PATH, [HOST], None), (b"/" * (LONGEST_PATH + 1), [HOST], 414),
        (b"/ws", [(b"x", b"a" * LONGEST_VALUE)], None), (b"/ws", [(b"x", b"a" * (LONGEST_VALUE + 1))], 431),
        (b"/ws", [HOST] * MAX_UPGRADE_HEADERS, None), (b"/ws", [HOST] * (MAX_UPGRADE_HEADERS + 1), 431),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_request_for_a_websocket_is_one_that_the_library_can_read(
    url: bytes, headers: list[tuple[bytes, bytes]], expected: int | None
) -> None:
    assert status(check_upgrade(url, headers)) == expected

from __future__ import annotations

import pytest

from services.edge.access.origins import origin_allowed


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "edge", True),
        ("https://radio.example", "edge", True),
        ("https://RADIO.example/", "edge", True),
        ("https://evil.example", "edge", False),
        ("http://edge:8000", "edge:8000", True),
        ("null", "edge", False),
        ("https://radio.example.evil", "edge", False),
    ],
)
def test_pages_of_listed_origins_and_of_this_host_may_connect(origin: str | None, host: str, allowed: bool) -> None:  # noqa: FBT001 - a table
    assert origin_allowed(origin, ("https://radio.example",), host) is allowed


def test_a_star_allows_every_origin() -> None:
    assert origin_allowed("https://anything.example", ("*",))

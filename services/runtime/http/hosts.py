"""Pure: the names under which an internal port answers, which keep out pages that rebind a name of theirs to it.

A page of another origin cannot read an answer. But its author may let its own name point at an internal address, and
then the browser takes page and port for one origin. The request still names the page's host, so ports that are meant
for known peers answer to known names only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

ANY: Final = "*"
"""Entry of the setting that allows every name."""

_HOST: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]*)?")
"""`uri-host [ ":" port ]` (RFC 9110, section 7.2); it may be empty."""


def well_formed(value: bytes) -> bool:
    """Whether a `Host` header has a value that RFC 9112 allows; a request with another one must get 400."""
    return _HOST.fullmatch(value) is not None


class AllowedHosts:
    """Decides whether a request's `Host` names this port.

    IP addresses and `localhost` always do: no page can let its name be one of them.

    Args:
        names: further names, without a port; "*" allows all.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(_plain(name) for name in names if name) | {"localhost"}

    def __contains__(self, host: str) -> bool:
        """Whether the value of a `Host` header, with or without a port, is allowed."""
        if ANY in self._names:
            return True
        match = _HOST.fullmatch(host.encode("latin-1", "replace"))
        if match is None:
            return False
        name = _plain(match[1].decode())
        return name in self._names or _is_address(name.removeprefix("[").removesuffix("]"))


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

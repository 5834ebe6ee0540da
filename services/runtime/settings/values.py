"""Readers of settings: each turns a text into a value or raises ValueError (shell: some look at files)."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high`, in digits."""

    def read(text: str) -> int:
        # int() alone would take '1_000', '٣' and ' 5'.
        if not re.fullmatch(r"-?[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return read


def one_of(*choices: str, upper: bool = False) -> Callable[[str], str]:
    """One of `choices`, in any case; the value is written as in `choices`."""

    def read(text: str) -> str:
        value = text.upper() if upper else text.lower()
        if value not in choices:
            raise ValueError(text)
        return value

    return read


def matching(pattern: str) -> Callable[[str], str]:
    """A text that the regular expression matches from beginning to end."""
    compiled = re.compile(pattern)

    def read(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(text)
        return text

    return read


def flag(text: str) -> bool:
    """A yes or a no, in the usual words."""
    return _FLAGS[one_of(*_FLAGS)(text)]


_FLAGS: Final[Mapping[str, bool]] = {
    "true": True, "1": True, "yes": True, "on": True,
    "false": False, "0": False, "no": False, "off": False,
}  # fmt: skip


def seconds(text: str) -> float:
    """Seconds, up to an hour."""
    value = float(text)
    if not 0 <= value <= 3600:
        raise ValueError(text)
    return value


def share(text: str) -> float:
    """A number above 0 and at most 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError(text)
    return value


def http_url(text: str) -> str:
    """An http or https address without query and fragment; a slash at its end is removed."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(text)
    _ = parts.port  # raises ValueError for a port that is not one
    return text.rstrip("/")


def batch_size(text: str) -> int | None:
    """A whole number from 1 to 1024; None for `auto`."""
    return None if text.lower() == "auto" else whole(1, 1024)(text)


def host(text: str) -> str:
    """A host name or an IP address, the latter without brackets."""
    if ":" in text:
        return str(ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]")))
    return matching(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})")(text)


def listed(text: str) -> tuple[str, ...]:
    """Items separated by commas; at least one."""
    items = tuple(item.strip() for item in text.split(",") if item.strip())
    if not items:
        raise ValueError(text)
    return items


def host_names(text: str) -> tuple[str, ...]:
    """Host names or IP addresses, or '*'."""
    return tuple(item if item == "*" else host(item).lower() for item in listed(text))


def networks(text: str) -> tuple[str, ...]:
    """IP addresses and networks, as networks."""
    return tuple(str(ipaddress.ip_network(item, strict=False)) for item in listed(text))


def origins(text: str) -> tuple[str, ...]:
    """Origins of web pages, or '*'."""
    items = listed(text)
    for item in items:
        parts = urlsplit(item)
        if item == "*":
            continue
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
            raise ValueError(item)
    return tuple(item.lower() for item in items)


def nats_urls(text: str) -> str:
    """Addresses of NATS servers, separated by commas."""
    urls = listed(text)
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("nats", "tls") or not parts.hostname:
            raise ValueError(url)
        _ = parts.port  # raises ValueError for a port that is not one
    return ",".join(urls)


def existing_file(text: str) -> str:
    """The path of a file that can be read."""
    path = Path(text).expanduser()
    if not path.is_file() or not os.access(path, os.R_OK):
        raise ValueError(text)
    return str(path)


def folder(text: str) -> str:
    """The path of a folder, which need not exist yet."""
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError(text)
    return str(path)


def secret(text: str) -> str:
    """A secret of at least 16 characters, which is too long to be guessed."""
    if len(text) < 16:
        raise ValueError(text)
    return text

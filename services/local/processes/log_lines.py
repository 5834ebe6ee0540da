"""A child's log lines as people read them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

LEVELS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_NOT_SHOWN: Final = frozenset({"event", "level", "timestamp", "service", "instance", "logger"})
MAX_LINE_BYTES: Final = 16_384
"""Longer lines are cut, so that a child that never ends its line cannot fill the memory."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of output.

    Attributes:
        text: the line for people.
        level: one of the numbers in `LEVELS`; a line that is not a log event counts as info.
        event: name of the event; empty if the line is not a log event.
        fields: the event's fields.
        raw: the line as the child wrote it.
    """

    text: str
    level: int = LEVELS["info"]
    event: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    raw: str = ""


def read_line(raw: bytes) -> LogLine:
    """Read one line of a child's output: a log event in JSON, or any other text."""
    text = raw.decode("utf-8", "replace").rstrip()
    if text.startswith("{"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and isinstance(value.get("event"), str):
            level = LEVELS.get(str(value.get("level", "info")).lower(), LEVELS["info"])
            return LogLine(_text(value), level, value["event"], value, text)
    return LogLine(text, raw=text)


def _text(value: Mapping[str, Any]) -> str:
    parts = [str(value["event"])]
    trace = ""
    for name, each in value.items():
        if name == "exception":
            trace = f"\n{each}"
        elif name not in _NOT_SHOWN:
            parts.append(f"{name}={_value_text(each)}")
    return " ".join(parts) + trace


def _value_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        # Text from clients must not look like a line of its own.
        return value if value and value.isprintable() and " " not in value else repr(value)
    return json.dumps(value, ensure_ascii=False, default=str)


class LineSplitter:
    """Cuts a byte stream into lines of at most `MAX_LINE_BYTES`."""

    def __init__(self) -> None:
        self._rest = b""
        self._cut = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their newlines."""
        *lines, rest = (self._rest + data).split(b"\n")
        if self._cut and lines:
            # The first line is the end of one that was cut and returned already.
            lines = lines[1:]
            self._cut = False
        lines = [line if len(line) <= MAX_LINE_BYTES else _shortened(line) for line in lines]
        if self._cut:
            rest = b""
        elif len(rest) > MAX_LINE_BYTES:
            lines.append(_shortened(rest))
            rest, self._cut = b"", True
        self._rest = rest
        return lines

    def end(self) -> list[bytes]:
        """The unfinished line when the stream has ended, if there is one."""
        rest, self._rest = self._rest, b""
        return [rest] if rest and not self._cut else []


def _shortened(line: bytes) -> bytes:
    return line[:MAX_LINE_BYTES] + " … (cut)".encode()

"""Logs: one line an event, as text or JSON, also for uvicorn, litestar and nats (shell)."""

from __future__ import annotations

import io
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TextIO

import structlog

from services.runtime.settings import Settings

_MAX_TEXT: Final = 8_000
"""Characters of a field; a longer one is cut, so that log shippers accept the line."""

_QUIETER: Final = {
    # Their INFO has a line for each request or connection, which metrics count better.
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    "uvicorn.error": logging.WARNING,
    "asyncio": logging.WARNING,
    # The bus reports its connection itself, rate-limited and as a sentence.
    "nats": logging.CRITICAL,
}


def configure_logging(settings: Settings, *, service: str, instance: str = "", stream: TextIO | None = None) -> None:
    """Send all logs of this process through one formatter; may be called again.

    Args:
        settings: `log_level`, `log_format`, `env` (a field of every JSON line) and `warnings` (logged here) are used.
        service: "synthesis", "edge", "telemetry": a field of every JSON line.
        instance: a field of every JSON line, where given.
        stream: receives the lines; None: stderr, because stdout is for the output of commands.
    """
    stream = sys.stderr if stream is None else stream
    as_json = settings.log_format == "json"
    identity = {"env": settings.env, "service": service} | ({"instance": instance} if instance else {})

    def in_order(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """Common fields come first and in one order, so that lines can be compared."""
        first = {name: event.pop(name) for name in ("timestamp", "level", "event", "logger") if name in event}
        return {**first, **identity, **event}

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S.%f", utc=as_json),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.UnicodeDecoder(),
        _shorten_fields,
    ]
    # A client's text must not end a line or control a terminal. As text, control characters are spelt out; JSON escapes
    # them, and a reader of the JSON gets them back.
    rendering: list[structlog.typing.Processor]
    if as_json:
        rendering = [
            in_order,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
            _escape_rare_controls,
        ]
    else:
        colours = stream.isatty()
        rendering = [
            _spell_controls_out,
            structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=_traceback),
        ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow=())],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, _Handler):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    logging.captureWarnings(capture=True)
    for name, level in _QUIETER.items():
        logging.getLogger(name).setLevel(max(level, logging.getLevelNamesMapping()[settings.log_level]))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "litestar", "nats"):
        # Libraries may have installed handlers of their own, which would repeat each line.
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for warning in settings.warnings:
        get_logger(__name__).warning("setting ignored", detail=warning)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger: `log.warning("bus disconnected", detail=...)`."""
    log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return log


class RepeatFilter(logging.Filter):
    """Holds back warnings and errors that repeat too often, so that one fault neither fills a disk nor hides others.

    Of each event of a logger, `burst` lines pass in an interval, whatever their fields; the first line of the next
    interval says how many were held back. Of the lines with a traceback the first of each type of error keeps it,
    because a client that finds a fault could write forty lines with each request. Lines below warnings always pass;
    AURALIS_LOG_LEVEL leaves them out.

    Args:
        burst: lines of one event that pass in an interval.
        interval_s: length of an interval.
        max_events: events that are remembered; overflow forgets the one seen least recently.
        monotonic: seconds from anywhere.
    """

    def __init__(
        self,
        *,
        burst: int = 20,
        interval_s: float = 10.0,
        max_events: int = 256,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._burst = burst
        self._interval_s = interval_s
        self._max_events = max_events
        self._monotonic = monotonic
        # (logger, event, type of error) -> (start of its interval, lines in it, lines held back)
        self._seen: OrderedDict[tuple[str, str, str], tuple[float, int, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line passes."""
        if record.levelno < logging.WARNING:
            return True
        # structlog passes a dictionary, other libraries a text with arguments.
        fields = record.msg if isinstance(record.msg, dict) else None
        error = _type_of_error(record.exc_info if fields is None else fields.get("exc_info"))
        key = (record.name, str(fields.get("event", "") if fields is not None else record.msg)[:200], error)
        now_s = self._monotonic()
        began_s, lines, held_back = self._seen.pop(key, (now_s, 0, 0))
        if now_s - began_s >= self._interval_s:
            if held_back and fields is not None:
                fields["held_back"] = held_back
            elif held_back:
                record.msg = f"{record.msg} ({held_back} more like it were held back)"
            began_s, lines, held_back = now_s, 0, 0
        passes = lines < self._burst
        if passes and lines and error:
            record.exc_info = record.exc_text = None
            if fields is not None:
                fields["exc_info"] = None
                fields["error_type"] = error
        self._seen[key] = (began_s, lines + 1, held_back + (not passes))
        if len(self._seen) > self._max_events:
            self._seen.popitem(last=False)
        return passes


def _type_of_error(exc_info: Any) -> str:
    """The name of the type of the error whose traceback a line has; empty without one."""
    if not exc_info:
        return ""
    if isinstance(exc_info, BaseException):
        return type(exc_info).__name__
    found = exc_info[0] if isinstance(exc_info, tuple) else sys.exc_info()[0]
    return "" if found is None else found.__name__


class _Handler(logging.StreamHandler[TextIO]):
    """The root logger's handler of this module, so that configuring again replaces no other."""


_CONTROLS: Final = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
"""Characters that end a line or control a terminal."""
_SPELT_OUT: Final = {code: repr(chr(code))[1:-1] for code in _CONTROLS}
_SPELT_OUT_IN_TRACEBACKS: Final = {code: text for code, text in _SPELT_OUT.items() if chr(code) not in "\t\n"}
_RARE_IN_JSON: Final = {code: f"\\u{code:04x}" for code in _CONTROLS if code >= 0x20}


def _spell_controls_out(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: value.translate(_SPELT_OUT) if isinstance(value, str) else value for name, value in event.items()}


def _escape_rare_controls(_logger: Any, _method: str, line: Any) -> Any:
    """Escape characters that JSON allows but at which some programs end a line."""
    return line.translate(_RARE_IN_JSON)


def _traceback(stream: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    stream.write(text.getvalue().translate(_SPELT_OUT_IN_TRACEBACKS))


def _shorten_fields(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for name, value in event.items():
        if isinstance(value, str) and len(value) > _MAX_TEXT and name != "exception":
            event[name] = value[:_MAX_TEXT] + "…"
    return event

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from services.runtime.observability.logging import RepeatFilter, configure_logging, get_logger
from services.runtime.settings import Settings


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def json_logs(level: str = "INFO", **settings: Any) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(
        Settings(log_format="json", log_level=level, **settings), service="edge", instance="edge-1", stream=stream
    )
    return stream


def test_an_event_is_one_line_of_json_with_its_fields_and_who_said_it() -> None:
    stream = json_logs()
    get_logger("services.edge.app").info("listener joined", listeners=3, stream="c-dorian-70-50-drift-0")
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "listener joined",
        "logger": "services.edge.app",
        "env": "development",
        "service": "edge",
        "instance": "edge-1",
        "listeners": 3,
        "stream": "c-dorian-70-50-drift-0",
    }


def test_time_level_and_event_come_first() -> None:
    stream = json_logs()
    get_logger("x").warning("watch out", zebra=1, apple=2)
    assert list(lines(stream)[0])[:3] == ["timestamp", "level", "event"]


def test_the_standard_loggers_of_libraries_go_through_the_same_formatter() -> None:
    stream = json_logs()
    logging.getLogger("uvicorn.error").warning("closing %s connections", 3)
    logging.getLogger("litestar").info("hello")
    assert [(line["logger"], line["level"], line["event"]) for line in lines(stream)] == [
        ("uvicorn.error", "warning", "closing 3 connections"),
        ("litestar", "info", "hello"),
    ]


def test_requests_and_connections_of_libraries_are_not_logged_each() -> None:
    stream = json_logs()
    for name in ("uvicorn.access", "uvicorn.error", "httpx", "nats.aio.client"):
        logging.getLogger(name).info("every single one")
    assert lines(stream) == []


NASTY = "a\nb\r\x1b[2J\x7f\x85\x9b\u2028c"


def test_what_a_client_sends_ends_no_line_and_commands_no_terminal() -> None:
    stream = io.StringIO()
    configure_logging(Settings(log_format="console"), service="edge", stream=stream)
    get_logger("x").warning("bad message", detail=NASTY, more=[NASTY])
    logging.getLogger("uvicorn.error").warning("Invalid request: %s", NASTY)
    assert len(stream.getvalue().splitlines()) == 2
    assert stream.getvalue().replace("\n", "").isprintable()
    assert stream.getvalue().count(r"a\nb\r\x1b[2J\x7f\x85\x9b\u2028c") == 3


def test_a_traceback_has_its_lines_and_commands_no_terminal() -> None:
    stream = io.StringIO()
    configure_logging(Settings(log_format="console"), service="edge", stream=stream)
    try:
        raise ValueError(NASTY)  # noqa: TRY301 - what is logged is its traceback
    except ValueError:
        get_logger("x").exception("failed")
    assert "\nTraceback (most recent call last):\n" in stream.getvalue()
    assert stream.getvalue().replace("\n", "").isprintable()


def test_in_json_nothing_but_an_event_ends_a_line_and_reading_it_gives_back_what_was_there() -> None:
    stream = json_logs()
    get_logger("x").warning("bad message", detail=NASTY, name_="ä")
    assert stream.getvalue()[:-1].isprintable()
    (line,) = lines(stream)
    assert line["detail"] == NASTY
    assert "ä" in stream.getvalue()


def test_an_exception_stays_on_its_line() -> None:
    stream = json_logs()
    try:
        int("the reason")
    except ValueError:
        get_logger("x").exception("it failed")
    (line,) = lines(stream)
    assert line["level"] == "error"
    assert "ValueError: invalid literal for int() with base 10: 'the reason'" in line["exception"]


def test_levels_below_the_setting_are_left_out() -> None:
    stream = json_logs(level="WARNING")
    log = get_logger("x")
    log.debug("no")
    log.info("no")
    log.warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


def test_a_logger_made_before_configuring_is_configured_too() -> None:
    log = get_logger("early")
    stream = json_logs()
    log.info("late")
    assert [line["event"] for line in lines(stream)] == ["late"]


def test_configuring_again_does_not_say_everything_twice() -> None:
    first = json_logs()
    second = json_logs()
    get_logger("x").info("once")
    assert lines(first) == []
    assert len(lines(second)) == 1


def test_a_value_that_json_does_not_know_is_written_as_text() -> None:
    stream = json_logs()
    get_logger("x").info("odd", value=object, path={1}, data=b"bytes")
    assert lines(stream)[0]["data"] == "bytes"


def test_a_huge_field_is_cut() -> None:
    stream = json_logs()
    get_logger("x").info("huge", text="a" * 100_000)
    assert len(stream.getvalue()) < 10_000


def test_a_line_break_in_a_field_does_not_begin_a_new_line() -> None:
    stream = json_logs()
    get_logger("x").info("injected\n", text='a\n{"event":"forged"}')
    assert len(stream.getvalue().splitlines()) == 1


def test_the_console_is_readable_and_has_no_colours_off_a_terminal() -> None:
    stream = io.StringIO()
    configure_logging(Settings(), service="edge", stream=stream)
    get_logger("services.edge").info("ready", port=8000)
    assert "ready" in stream.getvalue()
    assert "port=8000" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_unknown_settings_are_warned_of_when_logging_is_set_up() -> None:
    stream = json_logs(warnings=("AURALIS_PROT is not a setting of Auralis and is ignored",))
    (line,) = lines(stream)
    assert line["level"] == "warning"
    assert line["detail"] == "AURALIS_PROT is not a setting of Auralis and is ignored"


def test_pythons_warnings_are_logged() -> None:
    stream = json_logs()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old stuff", UserWarning, stacklevel=1)
    assert "old stuff" in lines(stream)[0]["event"]


def record(event: str, level: int = logging.WARNING, **fields: Any) -> logging.LogRecord:
    return logging.LogRecord("services.edge", level, __file__, 1, {"event": event, **fields}, None, None)


def test_a_fault_that_repeats_is_told_a_few_times_and_then_how_often_it_was_not() -> None:
    now_s = [0.0]
    repeats = RepeatFilter(burst=3, interval_s=10, monotonic=lambda: now_s[0])
    passed = [repeats.filter(record("ask failed", stream=f"s-{number}")) for number in range(100)]
    assert passed == [True] * 3 + [False] * 97
    # Another event, and what is no fault, pass.
    assert repeats.filter(record("block skipped"))
    assert all(repeats.filter(record("listener joined", logging.INFO)) for _ in range(100))
    now_s[0] = 10.0
    late = record("ask failed")
    assert repeats.filter(late)
    assert isinstance(late.msg, dict)
    assert late.msg["held_back"] == 97
    again = record("ask failed")
    assert repeats.filter(again)
    assert isinstance(again.msg, dict)
    assert "held_back" not in again.msg


def test_other_libraries_faults_are_held_back_too() -> None:
    stream = json_logs()
    for number in range(100):
        logging.getLogger("uvicorn.error").error("Exception in %s", f"request {number}")
    assert len(lines(stream)) == 20


@pytest.mark.parametrize("ours", [True, False], ids=["structlog", "logging"])
def test_the_same_traceback_is_written_once_in_an_interval_and_another_one_too(*, ours: bool) -> None:
    stream = json_logs()
    for number in range(5):
        for error in (ValueError(f"request {number}"), KeyError(f"request {number}")):
            if ours:
                get_logger("auralis").error("request failed", number=number, exc_info=error)
            else:
                logging.getLogger("uvicorn.error").error("request failed", exc_info=error)
    found = lines(stream)
    assert len(found) == 10
    assert ["ValueError" in line["exception"] for line in found if line.get("exception")] == [True, False]


def test_events_that_are_counted_stay_few() -> None:
    repeats = RepeatFilter(max_events=10)
    for number in range(1000):
        assert repeats.filter(record(f"event {number}"))
    assert len(repeats._seen) == 10

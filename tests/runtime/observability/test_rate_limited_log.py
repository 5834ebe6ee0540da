from __future__ import annotations

from typing import Any

import structlog
from structlog.testing import CapturingLogger

from services.runtime.observability.rate_limited_log import RateLimitedLog


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def rare_log(clock: Clock, **options: Any) -> tuple[RateLimitedLog, CapturingLogger]:
    captured = CapturingLogger()
    log: structlog.stdlib.BoundLogger = captured  # type: ignore[assignment]  # it takes any call and keeps it
    return RateLimitedLog(log, 10.0, monotonic=clock, **options), captured


def test_one_line_an_interval_is_logged_and_says_how_many_were_held_back() -> None:
    clock = Clock()
    log, captured = rare_log(clock)
    for number in range(100):
        log.warning("block skipped", detail=f"block {number}")
    clock.now_s = 9.999
    log.warning("block skipped", detail="still within the interval")
    clock.now_s = 10.0
    log.warning("block skipped", detail="the next interval")
    clock.now_s = 20.0
    log.warning("block skipped", detail="the one after")
    assert [(call.method_name, call.args, call.kwargs) for call in captured.calls] == [
        ("warning", ("block skipped",), {"detail": "block 0", "repeats": 0}),
        ("warning", ("block skipped",), {"detail": "the next interval", "repeats": 100}),
        ("warning", ("block skipped",), {"detail": "the one after", "repeats": 0}),
    ]


def test_events_are_limited_apart_from_each_other() -> None:
    log, captured = rare_log(Clock())
    log.warning("ask failed")
    log.warning("block skipped")
    log.warning("ask failed")
    assert [call.args[0] for call in captured.calls] == ["ask failed", "block skipped"]


def test_a_key_tells_repeats_apart_or_together_whatever_the_event() -> None:
    log, captured = rare_log(Clock())
    log.warning("pod deletion cost not set", key="refused", detail="403")
    log.warning("pod deletion cost not set", key="failed", detail="500")
    log.warning("something else", key="failed", detail="501")
    assert [call.kwargs["detail"] for call in captured.calls] == ["403", "500"]


def test_exceptions_and_warnings_of_one_event_share_its_interval() -> None:
    log, captured = rare_log(Clock())
    for tick in (1, 2):
        try:
            raise ValueError(tick)  # noqa: TRY301 - what is logged is the exception being handled
        except ValueError:
            log.exception("tick failed", tick=tick)
    log.warning("tick failed", tick=3)
    assert [(call.method_name, call.kwargs) for call in captured.calls] == [("exception", {"tick": 1, "repeats": 0})]


def test_the_key_seen_least_recently_is_forgotten() -> None:
    log, captured = rare_log(Clock(), max_keys=2)
    for event in ("a", "b", "a", "c", "a", "b"):
        log.warning(event)
    # "b" was forgotten for "c"; "a" was seen after it.
    assert [call.args[0] for call in captured.calls] == ["a", "b", "c", "b"]

import pytest

from services.telemetry.exposition import Parser
from services.telemetry.past import MAX_LOOKS, SEND_ERRORS, Past


def look(past: Past, now_s: float, **counters: float) -> None:
    text = "".join(f"# TYPE {name} counter\n{name} {value}\n" for name, value in counters.items())
    past.add(Parser().parse(text.encode()), now_s)


def test_an_increase_is_that_of_the_window() -> None:
    past = Past()
    for second in range(0, 601, 10):
        look(past, float(second), auralis_underruns_total=second / 10)
    assert past.increase("auralis_underruns_total", 300) == 30
    assert past.rate("auralis_underruns_total", 60) == pytest.approx(0.1)


def test_what_was_counted_before_the_first_look_is_no_increase() -> None:
    past = Past()
    look(past, 0, auralis_underruns_total=500)
    assert past.increase("auralis_underruns_total", 300) == 0
    assert past.rate("auralis_underruns_total", 300) is None
    look(past, 10, auralis_underruns_total=502)
    assert past.increase("auralis_underruns_total", 300) == 2


def test_after_a_restart_everything_counted_is_new() -> None:
    past = Past()
    look(past, 0, auralis_underruns_total=500)
    look(past, 10, auralis_underruns_total=3)
    assert past.increase("auralis_underruns_total", 300) == 3


def test_without_the_counter_there_is_none() -> None:
    past = Past()
    look(past, 0, other=1)
    assert past.increase("auralis_underruns_total", 300) is None


def test_listeners_that_went_away_are_no_send_errors() -> None:
    past = Past()
    for second, closed, stalled in ((0, 0, 0), (10, 900, 4)):
        text = f'{SEND_ERRORS}{{error_type="closed"}} {closed}\n{SEND_ERRORS}{{error_type="stalled"}} {stalled}\n'
        past.add(Parser().parse(b"# TYPE websocket_send_errors_total counter\n" + text.encode()), float(second))
    assert past.increase(SEND_ERRORS, 300) == 4


def test_it_keeps_ten_minutes_however_often_it_looks() -> None:
    past = Past()
    for tenth in range(20_000):
        look(past, tenth / 10, auralis_underruns_total=tenth)
    assert len(past.looks) <= MAX_LOOKS
    assert past.increase("auralis_underruns_total", 600) == pytest.approx(6000, abs=110)

import pytest

from services.telemetry.exposition.exposition import Parser
from services.telemetry.fleet.instance_history import JITTER, MAX_LOOKS, SEND_ERRORS, Past


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


def test_what_was_counted_before_a_restart_within_the_window_counts_too() -> None:
    past = Past()
    # 40 before the restart, 50 after it: by then the counter stands above where it began.
    for second, counted in ((0, 10), (10, 50), (20, 5), (30, 50)):
        look(past, second, auralis_underruns_total=counted)
    assert past.increase("auralis_underruns_total", 300) == 90
    # And the next one.
    look(past, 40, auralis_underruns_total=2)
    assert past.increase("auralis_underruns_total", 300) == 92


def jitter(past: Past, now_s: float, **counts: int) -> None:
    lines = "".join(f'{JITTER}_bucket{{le="{bound}"}} {count}\n' for bound, count in counts.items())
    past.add(Parser().parse(f"# TYPE {JITTER} histogram\n{lines}".encode()), now_s)


def test_a_histogram_of_a_restarted_process_is_not_mixed_with_the_one_before() -> None:
    past = Past()
    jitter(past, 0, **{"50": 0, "+Inf": 0})
    jitter(past, 10, **{"50": 100, "+Inf": 100})
    jitter(past, 20, **{"50": 0, "+Inf": 0})
    # As many in time as before, and as many late: by bound nothing seems to have gone back.
    jitter(past, 30, **{"50": 100, "+Inf": 200})
    assert past.counted(JITTER, 60) == {50.0: 200, float("inf"): 300}


def test_a_histogram_with_other_bounds_is_that_of_another_version_and_all_new() -> None:
    past = Past()
    jitter(past, 0, **{"50": 900, "+Inf": 900})
    jitter(past, 10, **{"40": 5, "60": 7, "+Inf": 7})
    assert past.counted(JITTER, 60) == {40.0: 5, 60.0: 7, float("inf"): 7}


@pytest.mark.parametrize("lie", [float("nan"), float("inf"), -5.0, 1e300])
def test_a_counter_that_says_no_number_is_none_and_the_next_one_is_believed(lie: float) -> None:
    past = Past()
    for second, counted in ((0, 1), (10, 3), (20, lie), (30, 7)):
        look(past, second, auralis_underruns_total=counted)
        if counted is lie:
            assert past.increase("auralis_underruns_total", 300) is None
    assert past.increase("auralis_underruns_total", 300) == 6


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

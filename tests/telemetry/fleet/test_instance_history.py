import pytest

from services.telemetry.exposition.exposition import Parser
from services.telemetry.fleet.instance_history import JITTER, MAX_SNAPSHOTS, REFUSALS, SEND_ERRORS, InstanceHistory


def add(history: InstanceHistory, now_s: float, **counters: float) -> None:
    text = "".join(f"# TYPE {name} counter\n{name} {value}\n" for name, value in counters.items())
    history.add(Parser().parse(text.encode()), now_s)


def test_an_increase_is_counted_over_the_window() -> None:
    history = InstanceHistory()
    for second in range(0, 601, 10):
        add(history, float(second), auralis_underruns_total=second / 10)
    assert history.increase("auralis_underruns_total", 300) == 30
    assert history.rate("auralis_underruns_total", 60) == pytest.approx(0.1)


def test_counts_before_the_first_snapshot_are_no_increase() -> None:
    history = InstanceHistory()
    add(history, 0, auralis_underruns_total=500)
    assert history.increase("auralis_underruns_total", 300) == 0
    assert history.rate("auralis_underruns_total", 300) is None
    add(history, 10, auralis_underruns_total=502)
    assert history.increase("auralis_underruns_total", 300) == 2


def test_after_a_restart_all_counts_are_an_increase() -> None:
    history = InstanceHistory()
    add(history, 0, auralis_underruns_total=500)
    add(history, 10, auralis_underruns_total=3)
    assert history.increase("auralis_underruns_total", 300) == 3


def test_counts_before_a_restart_within_the_window_are_included() -> None:
    history = InstanceHistory()
    # 40 before the restart, 50 after it; then the counter is higher than at first.
    for second, counted in ((0, 10), (10, 50), (20, 5), (30, 50)):
        add(history, second, auralis_underruns_total=counted)
    assert history.increase("auralis_underruns_total", 300) == 90
    # And the next one.
    add(history, 40, auralis_underruns_total=2)
    assert history.increase("auralis_underruns_total", 300) == 92


def jitter(history: InstanceHistory, now_s: float, **counts: int) -> None:
    lines = "".join(f'{JITTER}_bucket{{le="{bound}"}} {count}\n' for bound, count in counts.items())
    history.add(Parser().parse(f"# TYPE {JITTER} histogram\n{lines}".encode()), now_s)


def test_a_histogram_of_a_restarted_process_is_added_to_the_one_before() -> None:
    history = InstanceHistory()
    jitter(history, 0, **{"50": 0, "+Inf": 0})
    jitter(history, 10, **{"50": 100, "+Inf": 100})
    jitter(history, 20, **{"50": 0, "+Inf": 0})
    # No count is lower than before the restart.
    jitter(history, 30, **{"50": 100, "+Inf": 200})
    assert history.histogram_increase(JITTER, 60) == {50.0: 200, float("inf"): 300}


def test_a_histogram_with_other_bounds_is_all_increase() -> None:
    history = InstanceHistory()
    jitter(history, 0, **{"50": 900, "+Inf": 900})
    jitter(history, 10, **{"40": 5, "60": 7, "+Inf": 7})
    assert history.histogram_increase(JITTER, 60) == {40.0: 5, 60.0: 7, float("inf"): 7}


@pytest.mark.parametrize("lie", [float("nan"), float("inf"), -5.0, 1e300])
def test_an_invalid_count_is_none_and_the_next_valid_one_counts(lie: float) -> None:
    history = InstanceHistory()
    for second, counted in ((0, 1), (10, 3), (20, lie), (30, 7)):
        add(history, second, auralis_underruns_total=counted)
        if counted is lie:
            assert history.increase("auralis_underruns_total", 300) is None
    assert history.increase("auralis_underruns_total", 300) == 6


def test_without_the_counter_there_is_no_increase() -> None:
    history = InstanceHistory()
    add(history, 0, other=1)
    assert history.increase("auralis_underruns_total", 300) is None


def test_only_refusals_for_want_of_room_or_workers_count() -> None:
    history = InstanceHistory()
    for second, counts in ((0, (0, 0, 0)), (10, (3, 2, 900))):
        lines = [
            f'{REFUSALS}{{reason="{reason}"}} {count}\n'
            for reason, count in zip(("overload", "connections", "token"), counts, strict=True)
        ]
        history.add(Parser().parse((f"# TYPE {REFUSALS} counter\n" + "".join(lines)).encode()), float(second))
    assert history.increase(REFUSALS, 300) == 5


def test_listeners_that_left_are_no_send_errors() -> None:
    history = InstanceHistory()
    for second, closed, stalled in ((0, 0, 0), (10, 900, 4)):
        text = f'{SEND_ERRORS}{{error_type="closed"}} {closed}\n{SEND_ERRORS}{{error_type="stalled"}} {stalled}\n'
        history.add(Parser().parse(b"# TYPE websocket_send_errors_total counter\n" + text.encode()), float(second))
    assert history.increase(SEND_ERRORS, 300) == 4


def test_ten_minutes_are_kept_however_often_counts_are_added() -> None:
    history = InstanceHistory()
    for tenth in range(20_000):
        add(history, tenth / 10, auralis_underruns_total=tenth)
    assert len(history.snapshots) <= MAX_SNAPSHOTS
    assert history.increase("auralis_underruns_total", 600) == pytest.approx(6000, abs=110)

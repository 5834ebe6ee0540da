from __future__ import annotations

from services.runtime.expiring_dict import ExpiringDict


def test_an_entry_is_found_until_it_is_older_than_its_time_to_live() -> None:
    workers: ExpiringDict[str, int] = ExpiringDict(5.0)
    workers.set("w1", 8, 100.0)
    assert workers.get("w1", 105.0) == 8
    assert workers.get("w1", 105.001) is None
    assert workers.get("w2", 100.0) is None


def test_setting_an_entry_again_renews_it() -> None:
    workers: ExpiringDict[str, int] = ExpiringDict(5.0)
    workers.set("w1", 8, 100.0)
    workers.set("w2", 4, 100.0)
    workers.set("w1", 9, 104.0)
    assert list(workers.items(105.0)) == [("w1", 9), ("w2", 4)]
    assert list(workers.items(106.0)) == [("w1", 9)]
    assert list(workers.values(106.0)) == [9]
    assert list(workers.values(110.0)) == []


def test_expired_entries_are_dropped_and_given_back() -> None:
    workers: ExpiringDict[str, int] = ExpiringDict(30)
    for block in range(100):
        workers.set(f"w{block}", block, block)
    assert workers.expire(100) == {f"w{block}": block for block in range(70)}
    assert len(workers) == 30
    assert workers.expire(100) == {}
    assert set(workers.values(100)) == set(range(70, 100))

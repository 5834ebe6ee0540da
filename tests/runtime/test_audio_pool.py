from __future__ import annotations

import tracemalloc

import pytest

from services.contract.timebase import CHUNK_BYTES
from services.runtime.audio_pool import AudioChunkPool, DoubleReleaseError, PoolExhaustedError, PoolStats


def test_buffers_have_the_size_of_a_chunk_and_can_be_written() -> None:
    pool = AudioChunkPool()
    with pool.acquire() as view:
        assert len(view) == CHUNK_BYTES == 17_640
        view[:4] = b"abcd"
        assert bytes(view[:4]) == b"abcd"


def test_a_released_buffer_is_the_next_one_used() -> None:
    pool = AudioChunkPool(capacity=3)
    first = pool.acquire()
    memory = first.view.obj
    pool.release(first)
    assert pool.acquire().view.obj is memory


def test_two_borrowers_never_share_a_buffer() -> None:
    pool = AudioChunkPool(capacity=8)
    chunks = [pool.acquire() for _ in range(8)]
    assert len({id(chunk.view.obj) for chunk in chunks}) == 8


def test_a_steady_stream_allocates_no_audio_memory() -> None:
    pool = AudioChunkPool(capacity=4)
    tracemalloc.start()
    try:
        for _ in range(1000):
            with pool.acquire() as view:
                view[0] = 1
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < CHUNK_BYTES
    assert pool.stats == PoolStats(acquired=1000, released=1000, overflowed=0, in_use=0, free=4)


def test_releasing_twice_is_an_error_and_hands_nothing_out_twice() -> None:
    pool = AudioChunkPool(capacity=1)
    chunk = pool.acquire()
    chunk.release()
    with pytest.raises(DoubleReleaseError, match="released already"):
        chunk.release()
    with pytest.raises(DoubleReleaseError, match="acquire another one"):
        _ = chunk.view
    assert pool.stats.free == 1


def test_an_empty_pool_makes_one_more_and_throws_it_away_when_it_comes_back() -> None:
    pool = AudioChunkPool(capacity=2, overflow="allocate")
    chunks = [pool.acquire() for _ in range(3)]
    assert pool.stats == PoolStats(acquired=3, released=0, overflowed=1, in_use=3, free=0)
    for chunk in chunks:
        chunk.release()
    assert pool.stats == PoolStats(acquired=3, released=3, overflowed=1, in_use=0, free=2)


def test_an_empty_pool_can_refuse_instead() -> None:
    pool = AudioChunkPool(capacity=1, overflow="refuse")
    chunk = pool.acquire()
    with pytest.raises(PoolExhaustedError, match="all 1 buffers are in use"):
        pool.acquire()
    assert pool.stats.overflowed == 1
    chunk.release()
    pool.acquire()


def test_an_exception_inside_gives_the_buffer_back() -> None:
    pool = AudioChunkPool(capacity=1)

    def use() -> None:
        with pool.acquire():
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert pool.stats.free == 1


@pytest.mark.parametrize(("capacity", "chunk_bytes"), [(0, 10), (10, 0), (-1, 10)])
def test_nonsense_is_refused(capacity: int, chunk_bytes: int) -> None:
    with pytest.raises(ValueError, match="audio pool: got"):
        AudioChunkPool(capacity, chunk_bytes)

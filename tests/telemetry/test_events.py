import asyncio

import pytest

from services.telemetry.events import MAX_VIEWERS, Feed, TooManyViewersError


async def test_a_reader_gets_the_newest_text_at_once_and_then_each_later_one() -> None:
    feed = Feed()
    feed.publish("one")
    watching = feed.watch()
    assert await anext(watching) == "one"
    waiting = asyncio.ensure_future(anext(watching))  # type: ignore[arg-type] # anext is a coroutine here
    await asyncio.sleep(0)
    feed.publish("two")
    assert await waiting == "two"


async def test_a_slow_reader_misses_texts() -> None:
    feed = Feed()
    watching = feed.watch()
    feed.publish("one")
    assert await anext(watching) == "one"
    for number in range(100):
        feed.publish(str(number))
    assert await anext(watching) == "99"


async def test_closing_ends_every_reader() -> None:
    feed = Feed()
    readers = [asyncio.create_task(_read(feed)) for _ in range(3)]
    await asyncio.sleep(0)
    assert feed.viewers == 3
    feed.publish("one")
    await asyncio.sleep(0)
    feed.close()
    assert await asyncio.gather(*readers) == [["one"]] * 3
    assert feed.viewers == 0


async def test_too_many_viewers_are_refused() -> None:
    feed = Feed()
    readers = [asyncio.create_task(_read(feed)) for _ in range(MAX_VIEWERS)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyViewersError), feed.viewer():
        feed.watch()
    assert feed.viewers == MAX_VIEWERS
    feed.close()
    await asyncio.gather(*readers)


async def _read(feed: Feed) -> list[str]:
    with feed.viewer():
        return [text async for text in feed.watch()]

"""Run a service that receives audio in disorder: `python -m tests.support.shuffled_bus services.edge`.

Each block is delivered one to three times, each copy up to MAX_DELAY_S later, at random from a fixed seed.
"""

from __future__ import annotations

import asyncio
import random
import runpy
import sys
from collections.abc import Callable

from services.contract import subjects
from services.runtime.bus import Message, Subscription
from services.runtime.bus.nats import NatsBus

MAX_DELAY_S = 2.0
SEED = 11


def main() -> None:
    chance = random.Random(SEED)
    subscribe = NatsBus.subscribe
    audio = subjects.AUDIO_SUBJECTS.removesuffix(">")

    async def subscribe_shuffled(bus: NatsBus, subject: str, callback: Callable[[Message], None]) -> Subscription:
        if not subject.startswith(audio):
            return await subscribe(bus, subject, callback)

        def arrived(message: Message) -> None:
            for _ in range(chance.randint(1, 3)):
                asyncio.get_running_loop().call_later(chance.uniform(0, MAX_DELAY_S), callback, message)

        return await subscribe(bus, subject, arrived)

    NatsBus.subscribe = subscribe_shuffled  # type: ignore[method-assign]
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

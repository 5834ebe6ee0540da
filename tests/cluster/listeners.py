# ruff: noqa: T201 - a program of its own, run in a pod; what it prints is the report
"""Listeners inside the cluster: connect, stay, come back when sent away, and tell what they missed.

    python listeners.py URL LISTENERS SECONDS [FIRST_SEED]

Prints `all listening` when every one has had a chunk, at the end one line of JSON. SIGTERM is the end as well. Streams
differ by their seed, four listeners to each.
"""

import asyncio
import json
import signal
import sys
import time

from services.client import Client, ClientError
from services.contract.spec import StreamSpec

START_S = 60.0
SILENT = bytes(17_640)


class Count:
    """How many have begun, and what went wrong."""

    def __init__(self, listeners: int) -> None:
        self.listeners = listeners
        self.ending = False
        self.begun = 0
        self.silent_chunks = 0
        self.errors: list[str] = []

    def end(self) -> None:
        self.ending = True

    def one_more(self) -> None:
        self.begun += 1
        if self.begun == self.listeners:
            print("all listening", flush=True)


async def listen(url: str, seed: int, seconds: float, count: Count) -> Client | None:
    client = Client(url, StreamSpec.from_params({"seed": seed}))
    try:
        async with client:
            end_s = 0.0
            async for chunk in client:
                if not end_s:
                    count.one_more()
                    end_s = time.monotonic() + seconds
                if chunk.pcm == SILENT:
                    count.silent_chunks += 1
                if count.ending or time.monotonic() >= end_s:
                    break
    except ClientError as error:
        count.errors.append(str(error))
    return client


async def main(url: str, listeners: int, seconds: float, first_seed: int) -> None:
    count = Count(listeners)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, count.end)
    tasks = [asyncio.create_task(listen(url, first_seed + number // 4, seconds, count)) for number in range(listeners)]
    async with asyncio.timeout(START_S + seconds + 60):
        clients = [client for client in await asyncio.gather(*tasks) if client is not None]
    arrivals = [client.arrivals for client in clients]
    firsts = sorted(a.summary().first_audio_ms or 1e9 for a in arrivals)
    report = {
        "listeners": listeners,
        "chunks": sum(a.chunks for a in arrivals),
        "missing": sum(a.missing_chunks for a in arrivals),
        "repeated": sum(a.repeats for a in arrivals),
        "underruns": sum(a.underruns for a in arrivals),
        "reconnects": sum(a.reconnects for a in arrivals),
        "recovered": sum(a.recovered for a in arrivals),
        "splices": sum(a.splices for a in arrivals),
        "silent_chunks": count.silent_chunks,
        "first_audio_p50_ms": round(firsts[len(firsts) // 2]),
        "first_audio_max_ms": round(firsts[-1]),
        "errors": count.errors,
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int((sys.argv[4:] or ["1"])[0])))

# ruff: noqa: INP001 - a program of its own, mounted into a pod
"""The program of `helm test`: listens to an edge, and asks telemetry for edges and workers.

Environment: EDGE_URL, TEST_SECONDS; optional TELEMETRY_URL, JWT_KEY, JWT_AUDIENCE. It prints what it sees; the exit
status is 1 if there is a problem.
"""

import asyncio
import itertools
import json
import math
import os
import sys
import time
import urllib.request
from collections.abc import Mapping

import numpy as np

from services.client import Chunk, Client
from services.contract.timebase import CHUNK_BYTES, TICK_S

FIRST_SOUND_S = 30.0
SILENCE_DBFS = -60.0


def token(environ: Mapping[str, str]) -> dict[str, str]:
    """HTTP headers with a token, if JWT_KEY is set."""
    key = environ.get("JWT_KEY")
    if not key:
        return {}
    import jwt  # noqa: PLC0415 - only where tokens are asked for

    claims: dict[str, object] = {"exp": int(time.time()) + 300, "sub": "helm-test"}
    if audience := environ.get("JWT_AUDIENCE"):
        claims["aud"] = audience
    return {"Authorization": f"Bearer {jwt.encode(claims, key, algorithm='HS256')}"}


def level_dbfs(chunks: list[Chunk]) -> float:
    """RMS level of all samples, in dBFS."""
    samples = np.frombuffer(b"".join(chunk.pcm for chunk in chunks), dtype="<i2").astype(np.float64) / 32768
    return 20 * math.log10(max(float(np.sqrt(np.mean(samples**2))), 1e-6))


async def listen(url: str, seconds: float, headers: Mapping[str, str]) -> list[str]:
    """Listen for `seconds`; the problems, as sentences."""
    wanted = round(seconds / TICK_S)
    chunks: list[Chunk] = []
    began_s = time.monotonic()
    async with asyncio.timeout(FIRST_SOUND_S + 2 * seconds):
        async with Client(url, headers=headers) as client:
            async for chunk in client:
                if not chunks:
                    print(f"first sound after {time.monotonic() - began_s:.3f} s", flush=True)  # noqa: T201 - the report
                chunks.append(chunk)
                if len(chunks) == wanted:
                    break
    ids = [chunk.chunk_id for chunk in chunks]
    gaps = sum(later != earlier + 1 for earlier, later in itertools.pairwise(ids))
    loud = level_dbfs(chunks) if chunks else -120.0
    print(f"{len(chunks)} chunks, {gaps} gaps, {loud:.1f} dBFS; closed", flush=True)  # noqa: T201 - the report
    problems = []
    if len(chunks) < wanted:
        problems.append(f"got {len(chunks)} chunks of 100 ms, expected {wanted}: the edge ended the stream")
    if any(len(chunk.pcm) != CHUNK_BYTES for chunk in chunks):
        problems.append(f"a chunk is not {CHUNK_BYTES} bytes long")
    if gaps:
        problems.append(f"got {gaps} gaps in the numbers of the chunks, expected none")
    if loud < SILENCE_DBFS:
        problems.append(f"got {loud:.1f} dBFS, expected more than {SILENCE_DBFS:.0f}: this is silence")
    return problems


def ask_fleet(url: str) -> list[str]:
    """Wait until telemetry knows an edge and a worker; the problems, as sentences."""
    deadline_s = time.monotonic() + 20.0
    while True:
        with urllib.request.urlopen(f"{url}/api/fleet", timeout=5) as answer:  # noqa: S310 - an address of the chart's own
            fleet = json.load(answer)
        up = {each["service"] for each in fleet["instances"] if each["up"]}
        missing = sorted({"edge", "synthesis"} - up)
        if not missing or time.monotonic() > deadline_s:
            break
        time.sleep(1.0)
    print(f"telemetry hears {fleet['totals']['instances_up']} instances", flush=True)  # noqa: T201 - the report
    return [f"telemetry hears no {service}" for service in missing]


def main(environ: Mapping[str, str]) -> int:
    """Run both checks; the exit status."""
    problems = asyncio.run(listen(environ["EDGE_URL"], float(environ["TEST_SECONDS"]), token(environ)))
    if url := environ.get("TELEMETRY_URL"):
        problems += ask_fleet(url)
    for problem in problems:
        print(f"problem: {problem}", flush=True)  # noqa: T201 - the report
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(os.environ))

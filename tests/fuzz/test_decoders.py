"""What reads bytes of others, against messages that are nearly right: the contract, credentials, client, telemetry.

A decoder answers with a value or with the contract's own error, whatever it is given; what it takes, it writes and
takes again as the same. `pytest -m long tests/fuzz` throws a hundred thousand messages at each.
"""

from __future__ import annotations

import base64
import inspect
import json
import math
import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import jwt
import pytest

import services.contract
from services.client.session import Format, Session
from services.contract.block import Block, Chord, stream_hash
from services.contract.errors import ContractError
from services.contract.job import RenderJob
from services.contract.messages import read_object, read_versioned
from services.contract.presence import Presence
from services.contract.scrape import ScrapeAnswer
from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCK_BYTES, CHUNK_BYTES
from services.contract.websocket import (
    FRAME_OPUS,
    AudioFrame,
    error,
    hello,
    pack_opus,
    parse_client_message,
    splice,
    status,
    unpack_opus,
)
from services.edge.access.auth import Permit, TokenChecker, TokenError, find_token
from services.edge.access.proxy_trust import ProxyTrust
from services.edge.codecs.opus_encoder import OpusEncoder
from services.edge.endpoints.query import spec_from_query
from services.edge.endpoints.record import parse_query
from services.edge.listener import resume
from services.edge.listener.resume import ResumePoint
from services.telemetry.exposition import exposition, histograms
from tests.fuzz.mutation import mutations

SPEC = StreamSpec(key="F#", mode="dorian", bpm=64, intensity_steps=9, seed=7)
STEERED = StreamSpec(brightness_steps=14, density_steps=6, texture="rain", level_steps=(10, 10, 0, 10, 15, 10, 1))
SPECS = (StreamSpec(), SPEC, STEERED, StreamSpec(seed=2**31 - 1))
SECRET = b"fuzz" * 8
NOW_S = 1_763_900_000.0
CHECKER = TokenChecker("k" * 32, "listeners")


@dataclass(frozen=True)
class Target:
    """A decoder.

    Attributes:
        decode: takes any bytes.
        seeds: messages that it takes.
        again: writes what was read and reads that; None: it is not written anywhere.
        errors: what it may raise.
        covers: the functions of the contract that it stands for.
    """

    decode: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]
    again: Callable[[Any], Any] | None = None
    errors: tuple[type[Exception], ...] = (ContractError,)
    covers: tuple[str, ...] = ()


def text(data: bytes) -> str:
    # As a path or a query arrives: any bytes, made text.
    return data.decode("utf-8", "surrogateescape")


def params(data: bytes) -> StreamSpec:
    return StreamSpec.from_params(read_object("params", data, limit_bytes=4096))


def control(action: str, **fields: Any) -> bytes:
    return json.dumps({"type": "control", "action": action, "params": fields}).encode()


def opus_again(parts: tuple[list[bytes], list[bytes]]) -> tuple[list[bytes], list[bytes]]:
    preroll, packets = parts
    return unpack_opus(pack_opus(packets, preroll))


def said_to_a_client() -> tuple[bytes, ...]:
    """One of each JSON message of an edge."""
    audio = {
        "type": "audio", "chunk_id": 17_639_000_000, "data": base64.b64encode(bytes(CHUNK_BYTES)).decode(),
        "timestamp": NOW_S, "buffer_depth": 3, "current_tier": "normal",
    }  # fmt: skip
    greeting = hello(
        spec=SPEC, chunk_id=17, tier="normal", resume="a.b", recovered=None, server_time=NOW_S, limits={"a": 1}
    )
    rest = (greeting, status("skipped", from_chunk_id=1, to_chunk_id=9), splice(5, SPEC), error(4400, "no", "bpm"))
    return tuple(json.dumps(message).encode() for message in (audio, *rest))


def opus_frames() -> tuple[bytes, ...]:
    """A beginning, and what follows it."""
    encoder = OpusEncoder()
    first, second, third = (encoder.encode(bytes(CHUNK_BYTES)) for _ in range(3))
    payloads = (pack_opus(second, first[-4:]), pack_opus(third), pack_opus(third, second[-4:]))
    return tuple(
        AudioFrame(7 + index, NOW_S, 9, "normal", each, FRAME_OPUS).encode() for index, each in enumerate(payloads)
    )


def client(format_: Format) -> Callable[[bytes], Any]:
    """A client of one long connection."""
    session = Session(SPEC, format=format_)

    def receive(data: bytes) -> Any:
        message = text(data) if format_ == "json" else data
        # An unknown kind of message is counted and skipped.
        return session.receive(message, now_s=1.0, now_unix_s=NOW_S) or "skipped"

    return receive


def use_exposition(data: bytes) -> exposition.Exposition:
    """What telemetry does with an instance's answer."""
    found = PARSER.parse(data)
    # Reading only what has changed since the answer before comes to the same.
    assert READER.read(data) == found
    for name in found:
        exposition.value(found, name)
        exposition.by_label(found, name, "x")
        histograms.quantile(histograms.buckets(found, name), 0.5)
    merged = exposition.merge([({"service": "edge", "instance": "edge-1"}, found)])
    exposition.Parser().parse(merged)
    return found


PARSER = exposition.Parser()
READER = exposition.Reader(PARSER)
PROXIES = ProxyTrust(["10.0.0.0/8", "::1/128"])
PCM = bytes(BLOCK_BYTES)
PACKETS = [b"\xfc\xff\xfe", b"x" * 120, b"y" * 1275, b"z", b"w" * 60]
TARGETS: dict[str, Target] = {
    "block": Target(
        Block.decode,
        (
            Block(stream_hash("a"), "s1-abc", 17_639_000_000, PCM).encode(),
            Block(stream_hash("b"), "x", 0, PCM, 1.0, 0.25, 0.1, (Chord(0, "Am9"), Chord(5, "C△7"))).encode(),
        ),
        lambda block: Block.decode(block.encode()),
        covers=("block.Block.decode",),
    ),
    "job": Target(
        RenderJob.decode,
        tuple(RenderJob(spec, 1_763_900_000, attempt).encode() for attempt, spec in enumerate(SPECS)),
        lambda job: RenderJob.decode(job.encode()),
        covers=("job.RenderJob.decode", "messages.read_versioned"),
    ),
    "presence": Target(
        Presence.decode,
        (
            Presence("worker-1", "s1-abc", 3, "ready", 812.5, "compiled", "cpu").encode(),
            Presence("w", "x", 0, "warming", 0.0, "eager", "cuda").encode(),
        ),
        lambda presence: Presence.decode(presence.encode()),
        covers=("presence.Presence.decode",),
    ),
    "scrape": Target(
        ScrapeAnswer.decode,
        (ScrapeAnswer("edge", "edge-1", b"# TYPE a counter\na 1\n").encode(), ScrapeAnswer("edge", "e", b"").encode()),
        lambda answer: ScrapeAnswer.decode(answer.encode()),
        covers=("scrape.ScrapeAnswer.decode",),
    ),
    "client message": Target(
        parse_client_message,
        (
            control("start", key="C", bpm=70, intensity=0.5),
            control("start", key="Bb", mode="dorian", seed=3, events=True, resume="abc.def", chunk_id=17_639_000_000),
            control("update", intensity=0.8),
            control("update", brightness=0.7, density=0.3, texture="sea", levels={"pad": 0, "air": 1.5}),
            control("stop"),
            b'{"type":"report","chunk_id":17639000000,"buffer_ms":900,"underruns":2,"jitter_ms":3.5}',
        ),
        covers=("websocket.parse_client_message", "messages.read_object"),
    ),
    "client message as text": Target(
        lambda data: parse_client_message(text(data)), (control("start", key="C", bpm=70), control("update", bpm=60))
    ),
    "audio frame": Target(
        AudioFrame.decode,
        (
            AudioFrame(17_639_000_000, NOW_S, 10, "normal", bytes(CHUNK_BYTES)).encode(),
            AudioFrame(1, NOW_S, 1, "defensive", pack_opus(PACKETS), FRAME_OPUS).encode(),
        ),
        lambda frame: AudioFrame.decode(frame.encode()),
        covers=("websocket.AudioFrame.decode",),
    ),
    "opus payload": Target(
        unpack_opus,
        (pack_opus(PACKETS), pack_opus(PACKETS, PACKETS[:4])),
        opus_again,
        covers=("websocket.unpack_opus",),
    ),
    "stream id": Target(
        lambda data: StreamSpec.from_id(text(data)),
        tuple(spec.stream_id.encode() for spec in SPECS),
        lambda spec: StreamSpec.from_id(spec.stream_id),
        covers=("spec.StreamSpec.from_id",),
    ),
    "stream parameters": Target(
        params,
        tuple(json.dumps(spec.to_params()).encode() for spec in SPECS),
        lambda spec: StreamSpec.from_params(spec.to_params()),
        covers=("spec.StreamSpec.from_params",),
    ),
    "query": Target(
        lambda data: spec_from_query(text(data)),
        (
            b"key=C&bpm=70",
            b"key=F%23&mode=dorian&bpm=64&intensity=0.45&seed=7&preset=drift",
            b"density=0.3&brightness=0.7&texture=fire&level.pad=0&level.texture=1.5",
        ),
        lambda spec: StreamSpec.from_id(spec.stream_id),
        errors=(ValueError,),
    ),
    "recording": Target(
        lambda data: parse_query(text(data)),
        (b"seconds=10&format=opus&key=D&bpm=60", b"format=wav&preset=aurora"),
        errors=(ValueError,),
    ),
    "forwarded addresses": Target(
        lambda data: PROXIES.address("10.0.0.1", [data.decode("latin-1")]),
        (b"198.51.100.7, 10.0.0.2", b"[2001:db8::1]:443, ::1", b"198.51.100.7:1234"),
        errors=(),
    ),
    "client, JSON": Target(client("json"), said_to_a_client()),
    "client, PCM": Target(client("pcm"), (AudioFrame(9, NOW_S, 1, "normal", bytes(CHUNK_BYTES)).encode(),)),
    "client, Opus": Target(client("opus"), opus_frames()),
    "exposition": Target(
        use_exposition,
        (
            b'# HELP a_total b c\n# TYPE a_total counter\na_total{x="1",y="\\"q\\\\"} 1\n# TYPE g gauge\ng 1.5e3 17\n',
            b'# TYPE h histogram\nh_bucket{le="0.1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n',
        ),
        errors=(exposition.ExpositionError,),
    ),
    "resume token": Target(
        lambda data: resume.read(SECRET, text(data), NOW_S),
        (resume.issue(SECRET, ResumePoint(SPEC.stream_id, 17_639_000_000), NOW_S).encode(),),
        errors=(),
    ),
    "listening token": Target(
        # Headers are Latin-1.
        lambda data: CHECKER.read(find_token({"authorization": f"Bearer {data.decode('latin-1')}"}, "")),
        (jwt.encode({"exp": 2e9, "aud": "listeners", "streams": ["c-*"]}, "k" * 32, "HS256").encode(),),
        errors=(TokenError,),
    ),
}


def throw(target: Target, count: int, seed: int) -> tuple[int, float]:
    """How many of `count` messages were taken, and the longest that one took in milliseconds."""
    taken, longest_s = 0, 0.0
    for message in mutations(target.seeds, count, seed=seed):
        began_s = time.thread_time()
        try:
            value = target.decode(message)
        except target.errors as error:
            # The sender and logs see a sentence, not the content of a hostile message.
            said = str(error)
        else:
            said = ""
            taken += 1
        longest_s = max(longest_s, time.thread_time() - began_s)
        if not said:
            assert target.again is None or _same(target.again(value), value), message[:500]
            continue
        assert 0 < len(said) < 1000, (message[:200], said[:2000])
    return taken, longest_s * 1000.0


def _same(first: Any, second: Any) -> bool:
    return bool(first == second) or (isinstance(first, float) and math.isnan(first) and math.isnan(second))


@pytest.mark.parametrize("name", TARGETS)
def test_a_decoder_takes_its_own_messages(name: str) -> None:
    target = TARGETS[name]
    for message in target.seeds:
        value = target.decode(message)
        assert value is not None
        assert target.again is None or _same(target.again(value), value)


@pytest.mark.parametrize("name", TARGETS)
def test_a_decoder_answers_nearly_right_messages_with_a_value_or_its_own_error(name: str) -> None:
    throw(TARGETS[name], 2_000, seed=1)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TARGETS)
def test_a_hundred_thousand_messages_break_no_decoder(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    taken, longest_ms = throw(TARGETS[name], 100_000, seed=2)
    record_property("taken", taken)
    record_property("longest_ms", longest_ms)
    assert longest_ms < 100


def test_no_changed_token_is_accepted() -> None:
    for name in ("resume token", "listening token"):
        target = TARGETS[name]
        right = target.decode(target.seeds[0])
        for message in mutations(target.seeds, 2_000, seed=3):
            try:
                value = target.decode(message)
            except TokenError:
                continue
            # Base64 and JSON have several ways to write the same; nothing else is let in.
            assert value is None or value == right, (name, message)
            assert not isinstance(value, Permit) or value.patterns == ("c-*",)


def test_every_decoder_of_the_contract_is_a_target() -> None:
    covered = {name for target in TARGETS.values() for name in target.covers}
    found = set()
    for module in pkgutil.iter_modules(services.contract.__path__):
        namespace = import_module(f"services.contract.{module.name}")
        for name, value in vars(namespace).items():
            if getattr(value, "__module__", "") != namespace.__name__ or name.startswith("_"):
                continue
            if inspect.isclass(value):
                found |= {
                    f"{module.name}.{name}.{method}"
                    for method in vars(value)
                    if method == "decode" or method.startswith("from_")
                }
            elif name.startswith(("read_", "parse_", "unpack_", "decode_")):
                found.add(f"{module.name}.{name}")
    assert found == covered
    assert read_versioned.__name__ in str(covered)

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.contract.errors import ContractError, FieldError, MessageError, UnknownVersionError
from services.contract.job import MAX_BYTES, RenderJob
from services.contract.spec import StreamSpec
from services.contract.timebase import MAX_TICK
from tests.contract.strategies import HOSTILE_JSON, objects, specs

ENCODED = b'{"v":1,"stream":"cs-lydian-90-25-harbor-7","block":1700000000,"attempt":2}'
JOB = RenderJob(StreamSpec("C#", "lydian", 90, 5, "harbor", 7), 1_700_000_000, 2)


def test_a_job_has_these_bytes() -> None:
    assert JOB.encode() == ENCODED
    assert RenderJob.decode(ENCODED) == JOB


def test_a_job_for_a_steered_stream_has_these_bytes() -> None:
    steered = RenderJob(StreamSpec.from_params({"brightness": 0.7, "levels": {"pad": 0}}), 5)
    assert steered.encode() == b'{"v":1,"stream":"c-dorian-70-50-drift-0-b70-pad0","block":5,"attempt":0}'
    assert RenderJob.decode(steered.encode()) == steered


def test_a_first_ask_is_attempt_0() -> None:
    assert RenderJob(StreamSpec(), 5).encode() == b'{"v":1,"stream":"c-dorian-70-50-drift-0","block":5,"attempt":0}'


@given(specs, st.integers(0, MAX_TICK // 10), st.integers(0, 1_000_000))
def test_every_job_reads_back_and_is_small(spec: StreamSpec, block: int, attempt: int) -> None:
    job = RenderJob(spec, block, attempt)
    assert RenderJob.decode(job.encode()) == job
    assert len(job.encode()) <= MAX_BYTES


def test_a_job_cut_anywhere_is_refused() -> None:
    for length in range(len(ENCODED)):
        with pytest.raises(MessageError):
            RenderJob.decode(ENCODED[:length])


@pytest.mark.parametrize("version", [0, 2, -1, 1.0, "1", True, None])
def test_an_unknown_version_is_a_typed_error_whatever_else_the_message_holds(version: object) -> None:
    with pytest.raises(UnknownVersionError, match=r"render job: version .* is unknown, this build knows 1"):
        RenderJob.decode(json.dumps({"v": version, "something": "new"}).encode())


def test_a_message_without_a_version_is_of_an_unknown_one() -> None:
    with pytest.raises(UnknownVersionError):
        RenderJob.decode(b"{}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream", None), ("stream", 5), ("stream", ""), ("stream", "c-dorian-070-50-drift-0"), ("stream", "x" * 161),
        ("block", -1), ("block", 1.5), ("block", True), ("block", "1"), ("block", None), ("block", 10**400),
        ("attempt", -1), ("attempt", 1_000_001), ("attempt", None),
        ("surplus", 1),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    message = {**json.loads(ENCODED), field: value}
    with pytest.raises(FieldError) as caught:
        RenderJob.decode(json.dumps(message).encode())
    assert caught.value.field == field
    assert len(str(caught.value)) < 300


def test_a_job_that_is_too_long_is_not_even_parsed() -> None:
    with pytest.raises(MessageError, match="got 513 bytes, expected at most 512"):
        RenderJob.decode(b"[" * 513)


@pytest.mark.parametrize("data", [data for _, data in HOSTILE_JSON], ids=[name for name, _ in HOSTILE_JSON])
def test_hostile_json_is_an_error_of_the_contract(data: bytes) -> None:
    with pytest.raises(ContractError):
        RenderJob.decode(data)


@given(objects("v", "stream", "block", "attempt") | st.binary(max_size=100))
@example(ENCODED)
def test_whatever_arrives_is_a_job_or_an_error_of_the_contract(data: bytes) -> None:
    try:
        job = RenderJob.decode(data)
    except ContractError:
        return
    assert RenderJob.decode(job.encode()) == job

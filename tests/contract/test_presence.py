from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.contract.errors import ContractError, FieldError, MessageError, UnknownVersionError
from services.contract.presence import MAX_BYTES, STATES, Presence
from tests.contract.strategies import HOSTILE_JSON, names, objects, revisions

PRESENCE = Presence("synthesis-host-17", "a1b2-3", 4, "ready", 550.5, "compiled", "cpu")
ENCODED = (
    b'{"v":1,"instance":"synthesis-host-17","revision":"a1b2-3","sound_version":4,"state":"ready",'
    b'"capacity_streams":550.5,"mode":"compiled","device":"cpu"}'
)
FIELDS = ("v", "instance", "revision", "sound_version", "state", "capacity_streams", "mode", "device")


def test_a_presence_has_these_bytes() -> None:
    assert PRESENCE.encode() == ENCODED
    assert Presence.decode(ENCODED) == PRESENCE


@given(
    names,
    revisions,
    st.integers(0, 2**31),
    st.sampled_from(STATES),
    st.floats(0, 1e9),
    st.sampled_from(["compiled", "eager"]),
    st.sampled_from(["cpu", "cuda", "mps"]),
)
def test_every_presence_reads_back(  # noqa: PLR0917 - one for each field
    instance: str, revision: str, sound_version: int, state: str, capacity: float, mode: str, device: str
) -> None:
    presence = Presence(instance, revision, sound_version, state, capacity, mode, device)
    assert Presence.decode(presence.encode()) == presence
    assert len(presence.encode()) <= MAX_BYTES


def test_a_presence_carries_its_workers_clock_and_an_earlier_one_does_not() -> None:
    dated = replace(PRESENCE, clock_s=1_763_900_000.25)
    assert dated.encode() == ENCODED[:-1] + b',"clock_s":1763900000.25}'
    assert Presence.decode(dated.encode()) == dated
    assert Presence.decode(ENCODED).clock_s is None
    for wrong in ("soon", -1, 1e13, True):
        with pytest.raises(FieldError, match="clock_s"):
            Presence.decode(json.dumps({**json.loads(ENCODED), "clock_s": wrong}).encode())


def test_fields_of_a_later_build_are_ignored() -> None:
    assert Presence.decode(ENCODED[:-1] + b',"later":[1,2]}') == PRESENCE


def test_a_presence_cut_anywhere_is_refused() -> None:
    for length in range(len(ENCODED)):
        with pytest.raises(MessageError):
            Presence.decode(ENCODED[:length])


@pytest.mark.parametrize("version", [0, 2, "1", True, None])
def test_an_unknown_version_is_a_typed_error(version: object) -> None:
    with pytest.raises(UnknownVersionError, match="presence"):
        Presence.decode(json.dumps({**json.loads(ENCODED), "v": version}).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("instance", ""), ("instance", 5), ("instance", "x" * 101), ("instance", "two\nlines"), ("instance", "\ud800"),
        ("revision", "UPPER"), ("revision", "a.b"), ("revision", "x" * 17), ("revision", ""), ("revision", ">"),
        ("sound_version", -1), ("sound_version", 1.5), ("sound_version", 2**31 + 1),
        ("state", "asleep"), ("state", None), ("state", ["ready"]),
        ("capacity_streams", -1), ("capacity_streams", True), ("capacity_streams", 10**400),
        ("capacity_streams", "many"), ("mode", ""), ("device", None),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(FieldError) as caught:
        Presence.decode(json.dumps({**json.loads(ENCODED), field: value}).encode())
    assert caught.value.field == field


@pytest.mark.parametrize("data", [data for _, data in HOSTILE_JSON], ids=[name for name, _ in HOSTILE_JSON])
def test_hostile_json_is_an_error_of_the_contract(data: bytes) -> None:
    with pytest.raises(ContractError):
        Presence.decode(data)


@given(objects(*FIELDS) | st.binary(max_size=100))
@example(ENCODED)
def test_whatever_arrives_is_a_presence_or_an_error_of_the_contract(data: bytes) -> None:
    try:
        presence = Presence.decode(data)
    except ContractError:
        return
    assert Presence.decode(presence.encode()) == presence

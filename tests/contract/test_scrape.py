from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.errors import ContractError, MessageError, UnknownVersionError
from services.contract.scrape import MAX_BYTES, ScrapeAnswer
from tests.contract.strategies import HOSTILE_JSON, names

ANSWER = ScrapeAnswer("edge", "edge-host-17", b"auralis_listeners 3\n# a comment\n")
ENCODED = b'{"v":1,"service":"edge","instance":"edge-host-17"}\nauralis_listeners 3\n# a comment\n'


def test_an_answer_has_these_bytes() -> None:
    assert ANSWER.encode() == ENCODED
    assert ScrapeAnswer.decode(ENCODED) == ANSWER


@given(st.sampled_from(["synthesis", "edge", "telemetry"]), names, st.binary(max_size=500))
def test_every_answer_reads_back_whatever_the_exposition_holds(service: str, instance: str, exposition: bytes) -> None:
    answer = ScrapeAnswer(service, instance, exposition)
    assert ScrapeAnswer.decode(answer.encode()) == answer


def test_an_answer_cut_inside_its_first_line_is_refused() -> None:
    for length in range(ENCODED.index(b"\n") + 1):
        with pytest.raises(MessageError):
            ScrapeAnswer.decode(ENCODED[:length])


def test_an_unknown_version_is_a_typed_error() -> None:
    with pytest.raises(UnknownVersionError, match="scrape answer"):
        ScrapeAnswer.decode(b'{"v":2}\nmetric 1\n')


def test_an_answer_that_no_server_would_carry_is_refused() -> None:
    head = b'{"v":1,"service":"edge","instance":"e"}\n'
    assert ScrapeAnswer.decode(head + b"x" * (MAX_BYTES - len(head))).service == "edge"
    with pytest.raises(MessageError, match=f"expected at most {MAX_BYTES}"):
        ScrapeAnswer.decode(head + b"x" * (MAX_BYTES - len(head) + 1))


@pytest.mark.parametrize("data", [data for _, data in HOSTILE_JSON], ids=[name for name, _ in HOSTILE_JSON])
def test_a_hostile_first_line_is_an_error_of_the_contract(data: bytes) -> None:
    with pytest.raises(ContractError):
        ScrapeAnswer.decode(data.replace(b"\n", b"") + b"\nmetric 1\n")


@given(st.binary(max_size=200))
def test_random_bytes_are_an_error_of_the_contract(data: bytes) -> None:
    with pytest.raises(ContractError):
        ScrapeAnswer.decode(data)

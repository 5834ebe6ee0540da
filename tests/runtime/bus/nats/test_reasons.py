"""Words for people: what was seen, which setting to look at, and never a password."""

from __future__ import annotations

import re
import ssl

import nats.errors
import pytest

from services.runtime.bus.nats.reasons import explain, sentence, without_credentials

URL = "nats://auralis:a-good-password@bus.example:4222"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (nats.errors.AuthorizationError(), "nats://bus.example:4222 refused the sign-in .*NATS_USER, NATS_PASSWORD"),
        (ssl.SSLError(1, "bad certificate"), "nats://bus.example:4222: TLS failed .*NATS_TLS_CA_FILE"),
        (ConnectionRefusedError(111, "refused"), "cannot reach nats://bus.example:4222 .*NATS_URL"),
        (nats.errors.NoServersError(), "cannot reach nats://bus.example:4222 .*NATS_URL"),
        (TimeoutError(), r"cannot reach nats://bus.example:4222 \(TimeoutError\)"),
        (ValueError("odd"), "nats://bus.example:4222: odd"),
    ],
)  # fmt: skip
def test_a_failure_names_the_server_and_the_setting_and_no_password(error: Exception, words: str) -> None:
    said = explain(URL, error)
    assert re.match(words, said)
    assert "a-good-password" not in said


def test_an_error_that_says_nothing_is_called_by_its_name() -> None:
    assert sentence(TimeoutError()) == "TimeoutError"
    assert sentence(OSError("no route")) == "no route"


def test_an_address_without_a_user_stays_as_it_is() -> None:
    assert without_credentials("nats://127.0.0.1:4222") == "nats://127.0.0.1:4222"

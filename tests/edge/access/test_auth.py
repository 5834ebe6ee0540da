from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.contract.spec import StreamSpec
from services.edge.access.auth import MAX_PATTERNS, TokenChecker, TokenError, find_token

KEY = "a secret of thirty-two characters"
SPEC = StreamSpec(key="C", mode="dorian")


def claims(**more: Any) -> dict[str, Any]:
    return {"exp": time.time() + 60, "aud": "radio", **more}


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def pem(private: Any) -> str:
    return str(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def refused(checker: TokenChecker, token: str | None, why: str) -> None:
    with pytest.raises(TokenError, match=why):
        checker.read(token)


def test_signature_expiry_and_audience_are_checked() -> None:
    checker = TokenChecker(KEY, "radio")
    assert checker.read(jwt.encode(claims(), KEY)).allows("anything")
    refused(checker, None, "a token is needed")
    refused(checker, jwt.encode(claims(), "another secret of the same length"), "not accepted")
    refused(checker, jwt.encode(claims(exp=time.time() - 1), KEY), "expired")
    refused(checker, jwt.encode({"aud": "radio"}, KEY), "not accepted")
    refused(checker, jwt.encode(claims(aud="television"), KEY), "not accepted")
    refused(checker, jwt.encode({"exp": time.time() + 60}, KEY), "not accepted")
    refused(checker, jwt.encode(claims(nbf=time.time() + 30), KEY), "not accepted")


def test_a_token_with_an_audience_is_refused_where_none_is_expected() -> None:
    refused(TokenChecker(KEY), jwt.encode(claims(), KEY), "not accepted")
    assert TokenChecker(KEY).read(jwt.encode({"exp": time.time() + 60}, KEY)).allows("anything")


@pytest.mark.parametrize(
    ("algorithm", "private"),
    [
        ("RS256", rsa.generate_private_key(65537, 2048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=["RS256", "ES256", "EdDSA"],
)
def test_tokens_signed_with_a_private_key_are_checked_with_the_public_one(algorithm: str, private: Any) -> None:
    checker = TokenChecker(pem(private), "radio")
    token = jwt.encode(claims(), private, algorithm)
    assert checker.read(token).allows("anything")
    refused(checker, token[:-8] + "AAAAAAAA", "not accepted")


def test_a_public_key_is_not_accepted_as_a_shared_secret() -> None:
    # Everyone has the public key, so a signature made with it proves nothing.
    public = pem(ec.generate_private_key(ec.SECP256R1()))
    body = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims())}"
    signature = base64.urlsafe_b64encode(hmac.digest(public.encode(), body.encode(), "sha256")).rstrip(b"=").decode()
    refused(TokenChecker(public, "radio"), f"{body}.{signature}", "not accepted")


def test_an_unsigned_token_is_not_accepted() -> None:
    refused(TokenChecker(KEY, "radio"), f"{part({'alg': 'none'})}.{part(claims())}.", "not accepted")


def test_patterns_limit_streams_and_an_unreadable_limit_allows_none() -> None:
    checker = TokenChecker(KEY, "radio")
    assert checker.refusal(jwt.encode(claims(streams=["c-dorian-*"]), KEY), SPEC) is None
    assert checker.refusal(jwt.encode(claims(streams=["d-*"]), KEY), SPEC) is not None
    assert checker.refusal(jwt.encode(claims(streams=[]), KEY), SPEC) is not None
    many = ["x"] * MAX_PATTERNS + ["*"]
    assert checker.refusal(jwt.encode(claims(streams=many), KEY), SPEC) is not None
    for broken in ("c-dorian-*", 7, [7], {"*": True}):
        refused(checker, jwt.encode(claims(streams=broken), KEY), "not a list")


def test_a_pattern_covers_brightness_density_texture_and_levels_if_it_says_so() -> None:
    checker = TokenChecker(KEY, "radio")
    steered = SPEC.updated({"brightness": 0.7, "texture": "rain", "levels": {"pad": 0}})
    plain, open_ = SPEC.stream_id, f"{SPEC.stream_id}-*"
    for streams, allowed in (([plain], [SPEC]), ([open_], [steered]), ([plain, open_], [SPEC, steered])):
        token = jwt.encode(claims(streams=streams), KEY)
        assert [spec for spec in (SPEC, steered) if checker.refusal(token, spec) is None] == allowed


def test_a_token_is_read_from_the_header_or_else_from_the_query() -> None:
    assert find_token({"authorization": "Bearer abc"}, "token=xyz") == "abc"
    assert find_token({"authorization": "Basic abc"}, "token=xyz") == "xyz"
    assert find_token({}, "key=C") is None

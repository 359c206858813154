"""Client assertions (RFC 7523, section 3): a client proves who it is with a signature.

The audience is our issuer, as one text and nothing else, so that an assertion made for another server, or for another
endpoint, is worth nothing here; a client can be registered as one whose library insists on the token endpoint's URL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authn.clients.client import Client
from authn.clock import SKEW_MS, Millis
from authn.dpop import replay_key
from authn.errors import InvalidClient, MalformedJose
from authn.jose import Jws, VerifyKey, numeric_date, parse, text_claim, verify

_TYPES = frozenset({"jwt", "client-authentication+jwt"})
JTI_CHARS_MAX = 256


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion that is good, if it was not used before. See `authn.dpop.Proof`."""

    replay_key: bytes
    made_at_ms: Millis
    good_until_ms: Millis


def read_assertion(assertion: str) -> tuple[Jws, str]:
    """An assertion taken apart, and the id of the client that it claims to be from. Nothing is proven yet.

    Raises:
        InvalidClient: it is no JWT of the right kind.
    """
    try:
        jws = parse(assertion)
        issuer, subject = text_claim(jws.claims, "iss"), text_claim(jws.claims, "sub")
    except MalformedJose as error:
        raise InvalidClient(str(error)) from error
    if issuer != subject:
        raise InvalidClient("the assertion's `iss` and `sub` differ")
    typ = jws.header.get("typ")
    if typ is not None and (not isinstance(typ, str) or typ.lower().removeprefix("application/") not in _TYPES):
        raise InvalidClient("the assertion is of another type")
    return jws, issuer


def candidates(jws: Jws, keys: Sequence[VerifyKey]) -> list[VerifyKey]:
    """The keys of a client that an assertion may have been signed with: that of its ``kid``, else every one."""
    usable = [key for key in keys if jws.algorithm in key.algorithms]
    return usable if jws.kid is None else [key for key in usable if key.kid in {jws.kid, None}]


def verify_assertion(jws: Jws, client: Client, keys: Sequence[VerifyKey], now_ms: Millis) -> Assertion:
    """Hold an assertion against its client's keys and against the time.

    Raises:
        InvalidClient: it is not good.
    """
    if jws.algorithm not in client.assertion_algorithms:
        raise InvalidClient("the assertion is signed with an algorithm that is not the client's")
    if not any(_signed(jws, key) for key in candidates(jws, keys)):
        raise InvalidClient("the assertion is signed with none of the client's keys")
    try:
        return _check_claims(jws.claims, client, now_ms)
    except MalformedJose as error:
        raise InvalidClient(str(error)) from error


def _signed(jws: Jws, key: VerifyKey) -> bool:
    try:
        verify(jws, key)
    except MalformedJose:
        return False
    return True


def _check_claims(claims: Mapping[str, Any], client: Client, now_ms: Millis) -> Assertion:
    audience = claims.get("aud")
    if not isinstance(audience, str) or audience not in client.assertion_audiences:
        raise InvalidClient("the assertion is meant for another audience, or for several")
    expires_at_s = numeric_date(claims, "exp")
    if expires_at_s is None:
        raise InvalidClient("the assertion never expires")
    expires_at_ms = int(expires_at_s * 1000)
    longest_ms = client.assertion_lifetime_max_s * 1000
    if now_ms >= expires_at_ms + SKEW_MS:
        raise InvalidClient("the assertion has expired")
    if expires_at_ms > now_ms + longest_ms + SKEW_MS:
        raise InvalidClient("the assertion lives too long")
    for name in ("iat", "nbf"):
        date_s = numeric_date(claims, name)
        if date_s is not None and date_s * 1000 > now_ms + SKEW_MS:
            raise InvalidClient(f"the assertion's `{name}` is in the future")
    jti = text_claim(claims, "jti")
    if len(jti) > JTI_CHARS_MAX:
        raise InvalidClient("the assertion's `jti` is too long")
    issued_at_s = numeric_date(claims, "iat")
    made_at_ms = expires_at_ms - longest_ms if issued_at_s is None else int(issued_at_s * 1000)
    return Assertion(replay_key("assertion", client.client_id, jti), made_at_ms - SKEW_MS, expires_at_ms + SKEW_MS)

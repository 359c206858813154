"""DPoP proofs (RFC 9449): whether a request was made by who holds a key.

`read_proof` is every check of section 4.3 that needs no memory. Whether the proof was used before is asked apart,
after everything else was found good, so that what is refused takes no room in the store of what was used.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authn.cache import BoundedCache
from authn.clock import SKEW_MS, Millis
from authn.errors import InvalidDpopProof, MalformedJose, UseDpopNonce
from authn.jose import VerifyKey, b64url, has_type, numeric_date, parse, text_claim, verify
from authn.jwk import thumbprint, verify_key
from authn.nonces import LIFETIME_MS as NONCE_LIFETIME_MS
from authn.nonces import Nonces
from authn.uris import normalise

PROOF_TYPE = "dpop+jwt"
PROOF_AGE_MS_MAX = 60_000
"""How old a proof without a nonce may be."""
JTI_CHARS_MAX = 256
_KEYS_CACHED_MAX = 10_000
_keys: BoundedCache[tuple[Any, ...], tuple[VerifyKey, str]] = BoundedCache(_KEYS_CACHED_MAX)
"""Public keys and their thumbprints by what defines them: a pure function, remembered."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that is good, if it was not used before.

    Args:
        replay_key: the same for every use of this proof, and of no other.
        made_at_ms: the earliest instant at which it can have been made.
        good_until_ms: from when on it would be refused for its age.
    """

    jkt: str
    replay_key: bytes
    made_at_ms: Millis
    good_until_ms: Millis
    has_nonce: bool


def read_proof(
    headers: Sequence[str],
    *,
    method: str,
    url: str,
    now_ms: Millis,
    nonces: Nonces,
    nonce_required: bool = False,
    access_token: str | None = None,
) -> Proof:
    """The proof of a request.

    Args:
        headers: every ``DPoP`` header of the request; there must be one.
        url: the normalised URL that was asked, from our own settings and never from the request.
        access_token: the token used with it, which the proof must then name.

    Raises:
        InvalidDpopProof: a check failed.
        UseDpopNonce: it needs a nonce and has none that is good.
    """
    if len(headers) != 1:
        raise InvalidDpopProof("not exactly one DPoP header")
    try:
        jws = parse(headers[0])
        if not has_type(jws, PROOF_TYPE):
            raise InvalidDpopProof("the proof is of another type")
        key, jkt = _key(jws.header.get("jwk"))
        verify(jws, key)
        return _check_claims(
            jws.claims,
            jkt,
            method=method,
            url=url,
            now_ms=now_ms,
            nonces=nonces,
            nonce_required=nonce_required,
            access_token=access_token,
        )
    except MalformedJose as error:
        raise InvalidDpopProof(str(error)) from error


def _key(jwk: object) -> tuple[VerifyKey, str]:
    if not isinstance(jwk, dict):
        raise MalformedJose("the proof has no `jwk`")
    members = tuple(sorted(jwk.items())) if all(isinstance(value, str) for value in jwk.values()) else None
    known = _keys.get(members) if members is not None else None
    if known is None:
        known = verify_key(jwk), thumbprint(jwk)
        if members is not None:
            _keys.put(members, known)
    return known


def _check_claims(
    claims: Mapping[str, Any],
    jkt: str,
    *,
    method: str,
    url: str,
    now_ms: Millis,
    nonces: Nonces,
    nonce_required: bool,
    access_token: str | None,
) -> Proof:
    jti, htm, htu = (text_claim(claims, name) for name in ("jti", "htm", "htu"))
    if len(jti) > JTI_CHARS_MAX:
        raise InvalidDpopProof("the proof's `jti` is too long")
    if htm != method:
        raise InvalidDpopProof("the proof is for another method")
    if normalise(htu) != url:
        raise InvalidDpopProof("the proof is for another URL")
    issued_at_s = numeric_date(claims, "iat")
    if issued_at_s is None:
        raise InvalidDpopProof("the proof has no `iat`")
    if access_token is not None:
        wanted = b64url(hashlib.sha256(access_token.encode()).digest())
        if claims.get("ath") != wanted:
            raise InvalidDpopProof("the proof is not for this access token")
    key = replay_key("dpop", jkt, htm, url, jti)
    nonce_made_at_ms = _nonce(claims, nonces, now_ms)
    if nonce_made_at_ms is not None:
        return Proof(jkt, key, nonce_made_at_ms, nonce_made_at_ms + NONCE_LIFETIME_MS + SKEW_MS, has_nonce=True)
    if nonce_required:
        raise UseDpopNonce("the proof has no nonce", dpop_nonce=nonces.make(now_ms))
    issued_at_ms = int(issued_at_s * 1000)
    if not -SKEW_MS <= now_ms - issued_at_ms <= PROOF_AGE_MS_MAX:
        raise InvalidDpopProof("the proof is too old, or from the future")
    good_until_ms = issued_at_ms + PROOF_AGE_MS_MAX
    return Proof(jkt, key, issued_at_ms - SKEW_MS, good_until_ms, has_nonce=False)


def _nonce(claims: Mapping[str, Any], nonces: Nonces, now_ms: Millis) -> Millis | None:
    """When the proof's nonce was made; ``None`` where it has none."""
    if "nonce" not in claims:
        return None
    made_at_ms = nonces.made_at_ms(text_claim(claims, "nonce"), now_ms)
    if made_at_ms is None:
        raise UseDpopNonce("the proof's nonce is not ours or too old", dpop_nonce=nonces.make(now_ms))
    return made_at_ms


def replay_key(*parts: str) -> bytes:
    """What stands for one use of something: a digest in which no part can run into the next."""
    digest = hashlib.blake2b(digest_size=24)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.digest()

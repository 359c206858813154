"""Access tokens (RFC 9068): what is in one, and what must hold before it is believed.

A token that is an opaque text to its bearer has the same claims, kept in the database instead of in the token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from authn.clock import SKEW_MS, Millis
from authn.errors import InvalidToken, MalformedJose
from authn.jose import Jws, VerifyKey, has_type, numeric_date, parse, text_claim, verify

ACCESS_TOKEN_TYPE = "at+jwt"
ZOOKIE_CLAIM = "authz_rev"
EPOCH_CLAIM = "epoch"
"""The feed position that the issuing process had reached: what was revoked up to a position is older than it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whom an access token speaks for, and what it lets them do.

    Args:
        subject: ``client:…`` for a client by itself, else an account's id.
        actors: who acts for the subject, the present one first (RFC 8693, section 4.1).
        jkt: the thumbprint of the key that every use must prove possession of.
        lineage: ids of the tokens that this one was exchanged from.
        kid: the key that signed it; ``None`` for an opaque one.
        claims: everything that the token says.
    """

    subject: str
    client_id: str
    scopes: frozenset[str]
    audiences: tuple[str, ...]
    jti: str
    good_from_s: float
    expires_at_ms: Millis
    epoch: int = 0
    jkt: str | None = None
    actors: tuple[str, ...] = ()
    grant_id: str | None = None
    session_id: str | None = None
    lineage: tuple[str, ...] = ()
    kid: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def zookie(self) -> str | None:
        """The zookie that the token carries."""
        value = self.claims.get(ZOOKIE_CLAIM)
        return value if isinstance(value, str) else None


class UnknownKey(InvalidToken):
    """Signed by a key that is not among those published."""


def read_token(token: str, keys: Mapping[str, VerifyKey], issuer: str) -> Caller:
    """The caller of a JWT access token of ours, whenever and for whomever it is good.

    Args:
        keys: our published keys by id.

    Raises:
        InvalidToken: it is not one. The message is for the log.
    """
    try:
        jws = parse(token)
        if not has_type(jws, ACCESS_TOKEN_TYPE):
            raise InvalidToken("not an access token by its `typ`")
        _verify_signature(jws, keys)
        return read_claims(jws.claims, issuer, kid=jws.kid)
    except MalformedJose as error:
        raise InvalidToken(str(error)) from error


def _verify_signature(jws: Jws, keys: Mapping[str, VerifyKey]) -> None:
    key = keys.get(jws.kid) if jws.kid is not None else None
    if key is None:
        raise UnknownKey("signed by no key that is published")
    verify(jws, key, low_s=True)


def read_claims(claims: Mapping[str, Any], issuer: str, *, kid: str | None) -> Caller:
    """The caller that claims describe.

    Raises:
        MalformedJose: a claim is missing or of another form.
        InvalidToken: they are another issuer's.
    """
    issued_at, expires_at = (numeric_date(claims, name) for name in ("iat", "exp"))
    if issued_at is None or expires_at is None:
        raise MalformedJose("`iat` or `exp` is missing")
    if text_claim(claims, "iss") != issuer:
        raise InvalidToken("issued by somebody else")
    not_before = numeric_date(claims, "nbf")
    scope = claims.get("scope", "")
    cnf = claims.get("cnf", {})
    epoch = claims.get(EPOCH_CLAIM, 0)
    if not isinstance(scope, str) or not isinstance(cnf, dict) or type(epoch) is not int:
        raise MalformedJose("`scope`, `cnf` or `epoch` is of another form")
    jkt = cnf.get("jkt")
    if cnf and not isinstance(jkt, str):
        raise MalformedJose("`cnf` names a way of confirmation that is not offered here")
    return Caller(
        subject=text_claim(claims, "sub"),
        client_id=text_claim(claims, "client_id"),
        scopes=frozenset(scope.split()),
        audiences=_audiences(claims),
        jti=text_claim(claims, "jti"),
        good_from_s=max(issued_at, not_before or 0.0),
        expires_at_ms=int(expires_at * 1000),
        epoch=epoch,
        jkt=jkt,
        actors=_actors(claims),
        grant_id=_optional(claims, "grant_id"),
        session_id=_optional(claims, "sid"),
        lineage=_lineage(claims),
        kid=kid,
        claims=claims,
    )


def require_current(caller: Caller, now_ms: Millis) -> None:
    """Hold a token against the time.

    Raises:
        InvalidToken: it has expired, or is not valid yet.
    """
    if now_ms >= caller.expires_at_ms:
        raise InvalidToken("expired")
    if caller.good_from_s * 1000 > now_ms + SKEW_MS:
        raise InvalidToken("not valid yet")


def require_audience(caller: Caller, audience: str) -> None:
    """Hold a token against whom it is meant for.

    Raises:
        InvalidToken: for somebody else.
    """
    if audience not in caller.audiences:
        raise InvalidToken("meant for another audience")


def _audiences(claims: Mapping[str, Any]) -> tuple[str, ...]:
    audience = claims.get("aud")
    listed: Sequence[Any] = audience if isinstance(audience, list) else [audience]
    if not listed or not all(isinstance(each, str) and each for each in listed):
        raise MalformedJose("`aud` is missing or of another form")
    return tuple(listed)


def _actors(claims: Mapping[str, Any]) -> tuple[str, ...]:
    actors = []
    actor = claims.get("act")
    while actor is not None:
        if not isinstance(actor, dict):
            raise MalformedJose("`act` is of another form")
        actors.append(text_claim(actor, "sub"))
        actor = actor.get("act")
    return tuple(actors)


def _lineage(claims: Mapping[str, Any]) -> tuple[str, ...]:
    lineage = claims.get("lineage", [])
    if not isinstance(lineage, list) or not all(isinstance(each, str) for each in lineage):
        raise MalformedJose("`lineage` is of another form")
    return tuple(lineage)


def _optional(claims: Mapping[str, Any], name: str) -> str | None:
    return text_claim(claims, name) if name in claims else None

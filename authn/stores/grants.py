"""Families of refresh tokens in the database.

Every change of a family begins with a statement on its row, so renewing and revoking wait for each other, and a token
is used by one conditional statement that gives a row to exactly one of those who try.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.sql import ClauseElement

from authn.clock import Millis
from authn.stores import feed
from authn.stores.feed import FeedEntry
from authn.stores.statements import Database, Insert, Row, Statement, Work
from authn.stores.tables import grants, refresh_tokens

_g, _t = grants.c, refresh_tokens.c
_INSERT_GRANT = Statement(lambda insert: insert(grants).values({c: bindparam(c.name) for c in _g}))
_INSERT_TOKEN = Statement(lambda insert: insert(refresh_tokens).values({c: bindparam(c.name) for c in _t}))
FIND = Statement(
    lambda _: (
        select(
            _t.token_hash,
            _t.issued_at_ms,
            _t.expires_at_ms,
            _t.used_at_ms,
            _t.answer,
            _g.grant_id,
            _g.client_id,
            _g.subject,
            _g.facts,
            _g.jkt,
            _g.session_id,
            _g.created_at_ms,
            _g.expires_at_ms.label("grant_expires_at_ms"),
            _g.revoked_at_ms,
        )
        .select_from(refresh_tokens.join(grants, _t.grant_id == _g.grant_id))
        .where(_t.token_hash == bindparam("digest"))
    )
)
_TOUCH = Statement(
    lambda _: (
        update(grants)
        .where(_g.grant_id == bindparam("id"), _g.revoked_at_ms.is_(None))
        .values(used_at_ms=bindparam("now_ms"))
        .returning(_g.grant_id)
    )
)
_USE = Statement(
    lambda _: (
        update(refresh_tokens)
        .where(_t.token_hash == bindparam("digest"), _t.used_at_ms.is_(None))
        .values(used_at_ms=bindparam("now_ms"), answer=bindparam("sealed"))
        .returning(_t.token_hash)
    )
)


def _rotation(insert: Insert) -> ClauseElement:
    """All three at once: the family's row first, so that renewing and revoking wait for each other."""
    family = (
        update(grants)
        .where(_g.grant_id == bindparam("id"), _g.revoked_at_ms.is_(None))
        .values(used_at_ms=bindparam("now_ms"))
        .returning(_g.grant_id)
        .cte("family")
    )
    used = (
        update(refresh_tokens)
        .where(_t.token_hash == bindparam("digest"), _t.used_at_ms.is_(None), select(family.c.grant_id).exists())
        .values(used_at_ms=bindparam("now_ms"), answer=bindparam("sealed"))
        .returning(_t.grant_id)
        .cte("used")
    )
    successor = select(
        bindparam("token_hash", type_=_t.token_hash.type),
        used.c.grant_id,
        bindparam("issued_at_ms", type_=_t.issued_at_ms.type),
        bindparam("expires_at_ms", type_=_t.expires_at_ms.type),
    )
    names = ["token_hash", "grant_id", "issued_at_ms", "expires_at_ms"]
    statement: ClauseElement = insert(refresh_tokens).from_select(names, successor).returning(_t.token_hash)
    return statement


_ROTATE = Statement(_rotation)
_REVOKE = Statement(
    lambda _: (
        update(grants)
        .where(_g.grant_id == bindparam("id"), _g.revoked_at_ms.is_(None))
        .values(revoked_at_ms=bindparam("now_ms"), revoked_because=bindparam("why"))
        .returning(_g.grant_id)
    )
)
_REVOKE_OF_SESSION = Statement(
    lambda _: (
        update(grants)
        .where(_g.session_id == bindparam("id"), _g.revoked_at_ms.is_(None))
        .values(revoked_at_ms=bindparam("now_ms"), revoked_because=bindparam("why"))
    )
)
_REVOKE_OF_SUBJECT = Statement(
    lambda _: (
        update(grants)
        .where(
            or_(_g.subject == bindparam("subject"), _g.client_id == bindparam("client_id")),
            _g.revoked_at_ms.is_(None),
        )
        .values(revoked_at_ms=bindparam("now_ms"), revoked_because=bindparam("why"))
    )
)
_REVOKE_EXCHANGED = Statement(
    lambda _: (
        update(grants)
        .where(_g.lineage.like(bindparam("pattern")), _g.revoked_at_ms.is_(None))
        .values(revoked_at_ms=bindparam("now_ms"), revoked_because=bindparam("why"))
    )
)
_PURGE_TOKENS = Statement(
    lambda _: delete(refresh_tokens).where(
        _t.grant_id.in_(select(_g.grant_id).where(_g.expires_at_ms < bindparam("now_ms")))
    )
)
_PURGE_GRANTS = Statement(lambda _: delete(grants).where(_g.expires_at_ms < bindparam("now_ms")))


class GrantRow(NamedTuple):
    """A family: what was granted to whom. After ``expires_at_ms`` nothing of it is good."""

    grant_id: str
    client_id: str
    subject: str
    facts: Mapping[str, Any]
    jkt: str | None
    session_id: str | None
    created_at_ms: Millis
    expires_at_ms: Millis
    revoked_at_ms: Millis | None = None


class TokenRow(NamedTuple):
    """A refresh token of a family. ``answer`` is what its use was answered, sealed for whoever holds the token."""

    digest: bytes
    issued_at_ms: Millis
    expires_at_ms: Millis
    used_at_ms: Millis | None = None
    answer: bytes | None = None


def start(grant: GrantRow, token: TokenRow, lineage: Sequence[str]) -> Work[None]:
    """Begin a family with its first token."""
    values = grant._asdict() | {
        "facts": orjson.dumps(grant.facts).decode(),
        "lineage": " ".join(lineage) or None,
        "used_at_ms": None,
        "revoked_because": None,
    }
    yield _INSERT_GRANT, values
    yield _INSERT_TOKEN, _token_values(grant.grant_id, token)


async def find(database: Database, digest: bytes) -> tuple[TokenRow, GrantRow] | None:
    """The token of that digest with its family."""
    rows = await database.fetch(FIND, {"digest": digest})
    return _read(rows[0]) if rows else None


async def rotate(
    database: Database, digest: bytes, grant_id: str, sealed: bytes, successor: TokenRow, now_ms: Millis
) -> bool:
    """Use a token and put its successor in place; ``False`` where it is used already or its family revoked."""
    if not database.writes_within_with:
        return await database.run(_rotate(digest, grant_id, sealed, successor, now_ms))
    values = {"id": grant_id, "digest": digest, "sealed": sealed, "now_ms": now_ms}
    return bool(await database.fetch(_ROTATE, values | _token_values(grant_id, successor)))


def _rotate(digest: bytes, grant_id: str, sealed: bytes, successor: TokenRow, now_ms: Millis) -> Work[bool]:
    if not (yield _TOUCH, {"id": grant_id, "now_ms": now_ms}):
        return False
    if not (yield _USE, {"digest": digest, "now_ms": now_ms, "sealed": sealed}):
        return False
    yield _INSERT_TOKEN, _token_values(grant_id, successor)
    return True


def touch(grant_id: str, now_ms: Millis) -> Work[bool]:
    """Note that a family is in use; ``False`` where it is revoked."""
    return bool((yield _TOUCH, {"id": grant_id, "now_ms": now_ms}))


def revoke(grant_id: str, why: str, *, until_ms: Millis, now_ms: Millis) -> Work[FeedEntry | None]:
    """Revoke a family and what was made from it; ``None`` where it is revoked already.

    Args:
        until_ms: when the last access token of the family has expired.
    """
    if not (yield _REVOKE, {"id": grant_id, "now_ms": now_ms, "why": why}):
        return None
    return (yield from feed.append(feed.GRANT, grant_id, until_ms, now_ms))


def revoke_of_session(session_id: str, why: str, *, until_ms: Millis, now_ms: Millis) -> Work[FeedEntry]:
    """Revoke everything of a session."""
    yield _REVOKE_OF_SESSION, {"id": session_id, "now_ms": now_ms, "why": why}
    return (yield from feed.append(feed.SESSION, session_id, until_ms, now_ms))


def revoke_of_subject(
    subject: str, client_id: str | None, why: str, *, until_ms: Millis, now_ms: Millis
) -> Work[FeedEntry]:
    """Revoke everything of a subject, and of a client where the subject is one."""
    yield _REVOKE_OF_SUBJECT, {"subject": subject, "client_id": client_id or "", "now_ms": now_ms, "why": why}
    return (yield from feed.append(feed.SUBJECT, subject, until_ms, now_ms))


def revoke_token(jti: str, why: str, *, until_ms: Millis, now_ms: Millis) -> Work[FeedEntry]:
    """Revoke an access token, and the families that it was exchanged for."""
    yield _REVOKE_EXCHANGED, {"pattern": f"%{jti}%", "now_ms": now_ms, "why": why}
    return (yield from feed.append(feed.TOKEN, jti, until_ms, now_ms))


def purge(now_ms: Millis) -> Work[None]:
    """Forget families that have expired."""
    yield _PURGE_TOKENS, {"now_ms": now_ms}
    yield _PURGE_GRANTS, {"now_ms": now_ms}


def _token_values(grant_id: str, token: TokenRow) -> dict[str, Any]:
    return {
        "token_hash": token.digest,
        "grant_id": grant_id,
        "issued_at_ms": token.issued_at_ms,
        "expires_at_ms": token.expires_at_ms,
        "used_at_ms": token.used_at_ms,
        "answer": token.answer,
    }


def _read(row: Row) -> tuple[TokenRow, GrantRow]:
    digest, issued_at_ms, expires_at_ms, used_at_ms, answer, grant_id, client_id, subject, facts, *rest = row
    sealed = None if answer is None else bytes(answer)
    token = TokenRow(bytes(digest), issued_at_ms, expires_at_ms, used_at_ms, sealed)
    return token, GrantRow(grant_id, client_id, subject, orjson.loads(facts), *rest)

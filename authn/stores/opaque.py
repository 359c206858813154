"""Opaque access tokens in the database: the digest of each, and what it says."""

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import bindparam, delete, select

from authn.clock import Millis
from authn.stores.statements import Database, Statement, Work
from authn.stores.tables import opaque_tokens

_t = opaque_tokens.c
_INSERT = Statement(lambda insert: insert(opaque_tokens).values({c: bindparam(c.name) for c in _t}))
_GET = Statement(lambda _: select(_t.claims).where(_t.token_hash == bindparam("digest")))
_PURGE = Statement(lambda _: delete(opaque_tokens).where(_t.expires_at_ms < bindparam("now_ms")))


async def insert(database: Database, digest: bytes, claims: Mapping[str, Any]) -> None:
    """Store a token."""
    document = orjson.dumps(claims).decode()
    values = {"token_hash": digest, "claims": document, "expires_at_ms": claims["exp"] * 1000}
    await database.fetch(_INSERT, values)


async def get(database: Database, digest: bytes) -> Mapping[str, Any] | None:
    """What the token of that digest says."""
    rows = await database.fetch(_GET, {"digest": digest})
    return orjson.loads(rows[0][0]) if rows else None


def purge(now_ms: Millis) -> Work[None]:
    """Forget the tokens that have expired."""
    yield _PURGE, {"now_ms": now_ms}

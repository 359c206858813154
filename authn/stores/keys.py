"""Signing keys and shared secrets in the database."""

from collections.abc import Sequence

import orjson
from sqlalchemy import bindparam, null, select, update

from authn.clock import Millis
from authn.envelope import Sealed
from authn.keys.states import KeyRecord, KeyState
from authn.stores.statements import Row, Statement, Work
from authn.stores.tables import shared_secrets, signing_keys

_t = signing_keys.c
_ALL = Statement(lambda _: select(signing_keys).order_by(_t.created_at_ms, _t.kid))
_INSERT = Statement(
    lambda insert: (
        insert(signing_keys).values({c: bindparam(c.name) for c in _t}).on_conflict_do_nothing().returning(_t.kid)
    )
)
_MOVE = Statement(
    lambda _: (
        update(signing_keys)
        .where(_t.kid == bindparam("the_kid"), _t.state == bindparam("was"), _t.version == bindparam("the_version"))
        .values(
            state=bindparam("to"),
            version=_t.version + 1,
            state_since_ms=bindparam("now_ms"),
            published_at_ms=bindparam("published"),
        )
        .returning(_t.kid)
    )
)
_ERASE = Statement(
    lambda _: (
        update(signing_keys)
        .where(_t.kid == bindparam("the_kid"))
        .values(kek_id=null(), wrapped_key=null(), sealed_private=null())
    )
)
_REWRAP = Statement(
    lambda _: (
        update(signing_keys)
        .where(_t.kid == bindparam("the_kid"), _t.wrapped_key == bindparam("old"))
        .values(kek_id=bindparam("to"), wrapped_key=bindparam("new"))
        .returning(_t.kid)
    )
)
_s = shared_secrets.c
_SECRETS = Statement(lambda _: select(_s.name, _s.kek_id, _s.wrapped_key, _s.sealed))
_INSERT_SECRET = Statement(
    lambda insert: (
        insert(shared_secrets).values({c: bindparam(c.name) for c in _s}).on_conflict_do_nothing().returning(_s.name)
    )
)
_REWRAP_SECRET = Statement(
    lambda _: (
        update(shared_secrets)
        .where(_s.name == bindparam("the_name"), _s.wrapped_key == bindparam("old"))
        .values(kek_id=bindparam("to"), wrapped_key=bindparam("new"))
        .returning(_s.name)
    )
)


def all_keys() -> Work[Sequence[KeyRecord]]:
    """Every key there ever was, oldest first."""
    rows = yield _ALL, {}
    return [_record(row) for row in rows]


def insert(key: KeyRecord) -> Work[bool]:
    """Store a new key; ``False`` where it is there already."""
    sealed = key.sealed
    rows = yield (
        _INSERT,
        {
            "kid": key.kid,
            "algorithm": key.algorithm,
            "state": key.state.value,
            "version": key.version,
            "created_at_ms": key.created_at_ms,
            "state_since_ms": key.state_since_ms,
            "published_at_ms": key.published_at_ms,
            "public_jwk": orjson.dumps(key.public_jwk).decode(),
            "kek_id": sealed.kek_id if sealed else None,
            "wrapped_key": sealed.wrapped_key if sealed else None,
            "sealed_private": sealed.sealed if sealed else None,
        },
    )
    return bool(rows)


def move(key: KeyRecord, to: KeyState, now_ms: Millis) -> Work[bool]:
    """Take a key to another state; ``False`` where somebody else moved it since it was read."""
    rows = yield (
        _MOVE,
        {
            "the_kid": key.kid,
            "was": key.state.value,
            "the_version": key.version,
            "to": to.value,
            "now_ms": now_ms,
            "published": now_ms if to is KeyState.NEXT else key.published_at_ms,
        },
    )
    if rows and to in {KeyState.DESTROYED, KeyState.COMPROMISED}:
        yield _ERASE, {"the_kid": key.kid}
    return bool(rows)


def rewrap(kid: str, old: Sealed, new: Sealed) -> Work[bool]:
    """Put a data key wrapped anew in place of the old one; ``False`` where somebody else did."""
    rows = yield _REWRAP, {"the_kid": kid, "old": old.wrapped_key, "to": new.kek_id, "new": new.wrapped_key}
    return bool(rows)


def all_secrets() -> Work[dict[str, Sealed]]:
    """The shared secrets by name."""
    rows = yield _SECRETS, {}
    return {row[0]: Sealed(row[1], bytes(row[2]), bytes(row[3])) for row in rows}


def insert_secret(name: str, sealed: Sealed, now_ms: Millis) -> Work[bool]:
    """Store a shared secret; ``False`` where another process was faster, whose secret then counts."""
    rows = yield (
        _INSERT_SECRET,
        {
            "name": name,
            "kek_id": sealed.kek_id,
            "wrapped_key": sealed.wrapped_key,
            "sealed": sealed.sealed,
            "created_at_ms": now_ms,
        },
    )
    return bool(rows)


def rewrap_secret(name: str, old: Sealed, new: Sealed) -> Work[bool]:
    """As `rewrap`, for a shared secret."""
    rows = yield (
        _REWRAP_SECRET,
        {"the_name": name, "old": old.wrapped_key, "to": new.kek_id, "new": new.wrapped_key},
    )
    return bool(rows)


def _record(row: Row) -> KeyRecord:
    kid, algorithm, state, version, created_at_ms, state_since_ms, published_at_ms, public_jwk, *sealed = row
    kek_id, wrapped_key, sealed_private = sealed
    return KeyRecord(
        kid,
        algorithm,
        KeyState(state),
        version,
        created_at_ms,
        state_since_ms,
        published_at_ms,
        orjson.loads(public_jwk),
        None if kek_id is None else Sealed(kek_id, bytes(wrapped_key), bytes(sealed_private)),
    )

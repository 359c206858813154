"""Clients and their secrets in the database."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import bindparam, delete, func, or_, select, update

from authn.clients.client import ClientSecret
from authn.clock import Millis
from authn.errors import ClientExists, ClientNotFound
from authn.stores import feed
from authn.stores.statements import Row, Statement, Work
from authn.stores.tables import client_secrets, clients, marks

_c, _s = clients.c, client_secrets.c
_INSERT = Statement(
    lambda insert: (
        insert(clients).values({c: bindparam(c.name) for c in _c}).on_conflict_do_nothing().returning(_c.client_id)
    )
)
_GET = Statement(lambda _: select(clients).where(_c.client_id == bindparam("id")))
_PAGE = Statement(
    lambda _: (
        select(clients).where(_c.client_id > bindparam("after")).order_by(_c.client_id).limit(bindparam("limit_"))
    )
)
_UPDATE = Statement(
    lambda _: (
        update(clients)
        .where(_c.client_id == bindparam("id"))
        .values(metadata=bindparam("document"), updated_at_ms=bindparam("now_ms"))
        .returning(_c.client_id)
    )
)
_ENABLE = Statement(
    lambda _: (
        update(clients)
        .where(_c.client_id == bindparam("id"))
        .values(disabled_at_ms=bindparam("disabled"), updated_at_ms=bindparam("now_ms"))
        .returning(_c.client_id)
    )
)
_DELETE = Statement(lambda _: delete(clients).where(_c.client_id == bindparam("id")).returning(_c.client_id))
_SECRETS = Statement(
    lambda _: (
        select(_s.secret_hash, _s.expires_at_ms, _s.created_at_ms)
        .where(_s.client_id == bindparam("id"))
        .order_by(_s.created_at_ms, _s.secret_hash)
    )
)
_INSERT_SECRET = Statement(
    lambda insert: insert(client_secrets).values({c: bindparam(c.name) for c in _s}).on_conflict_do_nothing()
)
_LIMIT_SECRETS = Statement(
    lambda _: (
        update(client_secrets)
        .where(
            _s.client_id == bindparam("id"),
            or_(_s.expires_at_ms.is_(None), _s.expires_at_ms > bindparam("until_ms")),
        )
        .values(expires_at_ms=bindparam("until_ms"))
    )
)
_COUNT_SECRETS = Statement(
    lambda _: (
        select(func.count())
        .select_from(client_secrets)
        .where(
            _s.client_id == bindparam("id"), or_(_s.expires_at_ms.is_(None), _s.expires_at_ms > bindparam("now_ms"))
        )
    )
)
_DROP_SECRETS = Statement(lambda _: delete(client_secrets).where(_s.client_id == bindparam("id")))
_DROP_DEAD_SECRETS = Statement(
    lambda _: delete(client_secrets).where(_s.client_id == bindparam("id"), _s.expires_at_ms <= bindparam("now_ms"))
)
_MARK = Statement(
    lambda insert: (
        insert(marks)
        .values(name=bindparam("name"), made_at_ms=bindparam("now_ms"))
        .on_conflict_do_nothing()
        .returning(marks.c.name)
    )
)
_ENTRY_LIFE_MS = 3_600_000


class ClientRow(NamedTuple):
    """A client as stored."""

    client_id: str
    metadata: Mapping[str, Any]
    created_at_ms: Millis
    disabled: bool
    secrets: Sequence[ClientSecret]


def insert(
    client_id: str, metadata: Mapping[str, Any], secrets: Sequence[ClientSecret], now_ms: Millis
) -> Work[None]:
    """Store a new client.

    Raises:
        ClientExists: there is one of that id.
    """
    document = orjson.dumps(metadata).decode()
    values = {
        "client_id": client_id,
        "metadata": document,
        "created_at_ms": now_ms,
        "updated_at_ms": now_ms,
        "disabled_at_ms": None,
    }
    if not (yield _INSERT, values):
        raise ClientExists(client_id)
    for secret in secrets:
        yield _INSERT_SECRET, _secret_values(client_id, secret)
    yield from _changed(client_id, now_ms)


def mark(name: str, now_ms: Millis) -> Work[bool]:
    """Whether this is the first time that ``name`` happens in this installation."""
    return bool((yield _MARK, {"name": name, "now_ms": now_ms}))


def get(client_id: str) -> Work[ClientRow | None]:
    """The client of that id."""
    rows = yield _GET, {"id": client_id}
    return (yield from _with_secrets(rows[0])) if rows else None


def page(after: str, limit: int) -> Work[Sequence[ClientRow]]:
    """Clients in order of their ids, behind ``after``."""
    rows = yield _PAGE, {"after": after, "limit_": limit}
    found = []
    for row in rows:
        found.append((yield from _with_secrets(row)))  # noqa: PERF401 - a comprehension cannot `yield from`
    return found


def update_metadata(client_id: str, metadata: Mapping[str, Any], now_ms: Millis) -> Work[None]:
    """Put other metadata in place.

    Raises:
        ClientNotFound: there is no such client.
    """
    if not (yield _UPDATE, {"id": client_id, "document": orjson.dumps(metadata).decode(), "now_ms": now_ms}):
        raise ClientNotFound(client_id)
    yield from _changed(client_id, now_ms)


def set_disabled(client_id: str, now_ms: Millis, *, disabled: bool) -> Work[None]:
    """Disable a client or let it work again.

    Raises:
        ClientNotFound: there is no such client.
    """
    if not (yield _ENABLE, {"id": client_id, "disabled": now_ms if disabled else None, "now_ms": now_ms}):
        raise ClientNotFound(client_id)
    yield from _changed(client_id, now_ms)


def remove(client_id: str, now_ms: Millis) -> Work[None]:
    """Forget a client.

    Raises:
        ClientNotFound: there is no such client.
    """
    if not (yield _DELETE, {"id": client_id}):
        raise ClientNotFound(client_id)
    yield _DROP_SECRETS, {"id": client_id}
    yield from _changed(client_id, now_ms)


def add_secret(
    client_id: str, secret: ClientSecret, *, others_until_ms: Millis, living_max: int, now_ms: Millis
) -> Work[bool]:
    """Add a secret and let the others end; ``False`` where the client has ``living_max`` living ones already.

    Raises:
        ClientNotFound: there is no such client.
    """
    yield from feed.lock()
    if not (yield _GET, {"id": client_id}):
        raise ClientNotFound(client_id)
    yield _DROP_DEAD_SECRETS, {"id": client_id, "now_ms": now_ms}
    rows = yield _COUNT_SECRETS, {"id": client_id, "now_ms": now_ms}
    if rows[0][0] >= living_max and others_until_ms > now_ms:
        return False
    yield _LIMIT_SECRETS, {"id": client_id, "until_ms": others_until_ms}
    yield _INSERT_SECRET, _secret_values(client_id, secret)
    yield from _changed(client_id, now_ms)
    return True


def _changed(client_id: str, now_ms: Millis) -> Work[None]:
    yield from feed.append(feed.CLIENT, client_id, now_ms + _ENTRY_LIFE_MS, now_ms)


def _with_secrets(row: Row) -> Work[ClientRow]:
    client_id, document, created_at_ms, _, disabled_at_ms = row
    rows = yield _SECRETS, {"id": client_id}
    secrets = tuple(ClientSecret(bytes(digest), expires, created) for digest, expires, created in rows)
    return ClientRow(client_id, orjson.loads(document), created_at_ms, disabled_at_ms is not None, secrets)


def _secret_values(client_id: str, secret: ClientSecret) -> dict[str, Any]:
    return {
        "client_id": client_id,
        "secret_hash": secret.digest,
        "created_at_ms": secret.created_at_ms,
        "expires_at_ms": secret.expires_at_ms,
    }

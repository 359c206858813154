"""The ordinary statements: stores, schemas, changelog, counters, leases; written once, compiled for each database.

Those on single relationships are the drivers' own, where every microsecond counts; those by filter are built in
`pdp.stores.filters`.
"""

from typing import Any

import sqlalchemy as sa

from pdp.stores.database import Statement
from pdp.stores.tables import (
    counters,
    idempotency_keys,
    kinds,
    leases,
    relationships,
    schemas,
    stores,
    transaction_parts,
    transactions,
)


def _p(name: str, type_: Any = None) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=type_ or sa.BigInteger())


_text = sa.Text()
_bytes = sa.LargeBinary()

_FACTS = (
    stores.c.store_id,
    stores.c.name,
    stores.c.timeline,
    stores.c.created_at,
    stores.c.deleted_at,
    stores.c.revision,
    stores.c.oldest,
    stores.c.relationships,
    stores.c.relationships_max,
    stores.c.writes_per_second_max,
)
_living = stores.c.deleted_at.is_(None)

STORE_BY_NAME = Statement(
    sa.select(stores.c.store_id, stores.c.timeline, stores.c.zookie_key, stores.c.hash_key)
    .where(stores.c.name == _p("store_name", _text))
    .where(_living)
)
FACTS_BY_NAME = Statement(sa.select(*_FACTS).where(stores.c.name == _p("store_name", _text)).where(_living))
FACTS = Statement(
    sa.select(*_FACTS).where(_living).where(stores.c.name > _p("after", _text)).order_by(stores.c.name).limit(_p("n"))
)
DELETED_FACTS = Statement(sa.select(*_FACTS).where(stores.c.deleted_at.is_not(None)).order_by(stores.c.name))
ALL_STORES = Statement(sa.select(stores.c.store_id, stores.c.name, stores.c.deleted_at).order_by(stores.c.store_id))
CREATE_STORE = Statement(
    sa.text(
        """INSERT INTO pdp_stores (store_id, name, timeline, zookie_key, hash_key, revision, committed_at,
            schema_revision, oldest, relationships, relationships_max, writes_per_second_max, allowance, created_at)
        SELECT :store_id, :store_name, :timeline, :zookie_key, :hash_key, 0, :created_at, 0, 0, 0,
            :relationships_max, :writes_per_second_max, :allowance, :created_at
        WHERE NOT EXISTS (SELECT 1 FROM pdp_stores WHERE name = :store_name AND deleted_at IS NULL)
        ON CONFLICT DO NOTHING"""
    ).bindparams(
        _p("store_id"),
        _p("store_name", _text),
        _p("timeline", _text),
        _p("zookie_key", _bytes),
        _p("hash_key", _bytes),
        _p("created_at"),
        _p("relationships_max"),
        _p("writes_per_second_max"),
        _p("allowance"),
    )
)
SET_QUOTAS = Statement(
    sa.update(stores)
    .where(stores.c.store_id == _p("store"))
    .values(relationships_max=_p("most"), writes_per_second_max=_p("rate"), allowance=_p("full"))
)
SET_DELETED = Statement(
    sa.update(stores)
    .where(stores.c.store_id == _p("store"))
    .where(_living)
    .values(deleted_at=_p("instant"))
    .returning(*_FACTS)
)
DELETED_BY_ID = Statement(
    sa.select(stores.c.name).where(stores.c.store_id == _p("store")).where(stores.c.deleted_at.is_not(None))
)
UNSET_DELETED = Statement(
    sa.update(stores).where(stores.c.store_id == _p("store")).values(deleted_at=sa.null()).returning(stores.c.name)
)
RENAME = Statement(sa.update(stores).where(stores.c.store_id == _p("store")).values(name=_p("new_name", _text)))

HEAD = Statement(sa.select(stores.c.revision, stores.c.deleted_at).where(stores.c.store_id == _p("store")))
COUNT = Statement(sa.select(stores.c.relationships).where(stores.c.store_id == _p("store")))

SCHEMA = Statement(
    sa.select(schemas.c.text, schemas.c.revision)
    .where(schemas.c.store_id == _p("store"))
    .where(schemas.c.revision <= _p("at"))
    .order_by(schemas.c.revision.desc())
    .limit(1)
)
INSERT_SCHEMA = Statement(
    sa.insert(schemas).values(store_id=_p("store"), revision=_p("at"), text=_p("schema_text", _text))
)

PARTS = Statement(
    sa.select(transaction_parts.c.changes)
    .where(transaction_parts.c.store_id == _p("store"))
    .where(transaction_parts.c.revision == _p("at"))
    .order_by(transaction_parts.c.part)
)
REVISION_AT = Statement(
    sa.select(transactions.c.revision)
    .where(transactions.c.store_id == _p("store"))
    .where(transactions.c.committed_at <= _p("instant"))
    .order_by(transactions.c.committed_at.desc(), transactions.c.revision.desc())
    .limit(1)
)
COMMITTED_AT = Statement(
    sa.select(transactions.c.committed_at)
    .where(transactions.c.store_id == _p("store"))
    .where(transactions.c.revision == _p("at"))
)
OLDEST = Statement(
    sa.select(stores.c.oldest, stores.c.revision, stores.c.deleted_at).where(stores.c.store_id == _p("store"))
)
KINDS = Statement(
    sa.select(*(column for column in kinds.c if column.name != "store_id"))
    .where(kinds.c.store_id == _p("store"))
    .where(kinds.c.living > 0)
    .order_by(*(column for column in kinds.c if column.primary_key))
)

INSERT_COUNTER = Statement(
    sa.insert(counters).values(store_id=_p("store"), name=_p("counter", _text), filter=_p("counted", _text))
)
COUNTER = Statement(
    sa.select(counters.c.filter)
    .where(counters.c.store_id == _p("store"))
    .where(counters.c.name == _p("counter", _text))
)
COUNTERS = Statement(
    sa.select(counters.c.name, counters.c.filter).where(counters.c.store_id == _p("store")).order_by(counters.c.name)
)
DELETE_COUNTER = Statement(
    sa.delete(counters)
    .where(counters.c.store_id == _p("store"))
    .where(counters.c.name == _p("counter", _text))
    .returning(counters.c.name)
)

TAKE_LEASE = Statement(
    sa.text(
        """INSERT INTO pdp_leases (name, holder, until) VALUES (:lease, :holder, :until_instant)
        ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
        WHERE pdp_leases.until < :instant OR pdp_leases.holder = excluded.holder
        RETURNING holder"""
    ).bindparams(_p("lease", _text), _p("holder", _text), _p("until_instant"), _p("instant"))
)
DROP_LEASE = Statement(
    sa.delete(leases).where(leases.c.name == _p("lease", _text)).where(leases.c.holder == _p("holder", _text))
)

RAISE_OLDEST = Statement(
    sa.update(stores)
    .where(stores.c.store_id == _p("store"))
    .where(stores.c.oldest < _p("at"))
    .values(oldest=_p("new_oldest"))
)
FORGET_KEYS = Statement(
    sa.delete(idempotency_keys)
    .where(idempotency_keys.c.store_id == _p("store"))
    .where(idempotency_keys.c.created_at < _p("instant"))
    .returning(idempotency_keys.c.key)
)
_newest = schemas.alias("newest")
FORGET_SCHEMAS = Statement(
    sa.delete(schemas)
    .where(schemas.c.store_id == _p("store"))
    .where(
        schemas.c.revision
        < sa.select(sa.func.max(_newest.c.revision))
        .where(_newest.c.store_id == _p("store"))
        .where(_newest.c.revision <= _p("at"))
        .scalar_subquery()
    )
)
FORGET_KINDS = Statement(sa.delete(kinds).where(kinds.c.store_id == _p("store")).where(kinds.c.living <= 0))
STORE_TABLES = (relationships, transactions, transaction_parts, schemas, kinds, idempotency_keys, counters)
"""Tables whose rows belong to a store, beside its own row."""

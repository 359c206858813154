"""The tables of stores and relationships, as SQLAlchemy Core knows them. `pdp.migrations` makes them.

Every table's key leads with the store, no statement spans two stores, and nothing draws on a sequence, so the same
tables distribute by store. A living row's ``deleted`` is `LIVING`, the greatest integer: being unique over (store,
slot, pair, deleted), a relationship has one living row at most. What ``slot``, ``pair`` and ``subject_slot`` hold is
`pdp.stores.keys`' matter; the texts are what counts, and every one of them is stored, compared and sorted by its
bytes (collation ``C``).
"""

import sqlalchemy as sa

LIVING = 2**63 - 1
"""``deleted`` of a row that no revision has deleted."""

metadata = sa.MetaData()

_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

stores = sa.Table(
    "pdp_stores",
    metadata,
    sa.Column("store_id", _integer, primary_key=True, autoincrement=False),  # random, so that no sequence is needed
    sa.Column("name", _text, nullable=False),
    sa.Column("timeline", _text, nullable=False),
    sa.Column("zookie_key", sa.LargeBinary, nullable=False),
    sa.Column("hash_key", sa.LargeBinary, nullable=False),
    sa.Column("revision", _integer, nullable=False),
    sa.Column("committed_at", _integer, nullable=False),
    sa.Column("schema_revision", _integer, nullable=False),
    sa.Column("oldest", _integer, nullable=False),  # snapshots from this revision on are whole
    sa.Column("relationships", _integer, nullable=False),
    sa.Column("relationships_max", _integer),
    sa.Column("writes_per_second_max", _integer),
    sa.Column("allowance", _integer, nullable=False),  # thousandths of a write that may still be made at once
    sa.Column("created_at", _integer, nullable=False),
    sa.Column("deleted_at", _integer),
    sa.Index(
        "pdp_stores_name",
        "name",
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
        sqlite_where=sa.text("deleted_at IS NULL"),
    ),
)

schemas = sa.Table(
    "pdp_schemas",
    metadata,
    sa.Column("store_id", _integer, primary_key=True, autoincrement=False),
    sa.Column("revision", _integer, primary_key=True, autoincrement=False),
    sa.Column("text", _text, nullable=False),
)

relationships = sa.Table(
    "pdp_relationships",
    metadata,
    sa.Column("store_id", _integer, nullable=False),
    sa.Column("slot", _integer, nullable=False),
    sa.Column("pair", _integer, nullable=False),
    sa.Column("subject_slot", _integer, nullable=False),
    sa.Column("created", _integer, nullable=False),
    sa.Column("deleted", _integer, nullable=False),
    sa.Column("resource_type", _text, nullable=False),
    sa.Column("resource_id", _text, nullable=False),
    sa.Column("relation", _text, nullable=False),
    sa.Column("subject_type", _text, nullable=False),
    sa.Column("subject_id", _text, nullable=False),
    sa.Column("subject_relation", _text, nullable=False),
    sa.Column("caveat_name", _text, nullable=False),
    sa.Column("caveat_context", _text, nullable=False),
    sa.Column("expires_at", _integer),
    sa.Column("valid_from", _integer),
    sa.Index("pdp_relationships_key", "store_id", "slot", "pair", "deleted", unique=True),
    sa.Index("pdp_relationships_subject", "store_id", "subject_slot", "pair"),
    sa.Index(
        "pdp_relationships_dead",
        "store_id",
        "deleted",
        postgresql_where=sa.text(f"deleted < {LIVING}"),
        sqlite_where=sa.text(f"deleted < {LIVING}"),
    ),
    *(
        sa.Index(
            f"pdp_relationships_{column}",
            "store_id",
            column,
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
            sqlite_where=sa.text(f"{column} IS NOT NULL"),
        )
        for column in ("expires_at", "valid_from")
    ),
)

transactions = sa.Table(
    "pdp_transactions",
    metadata,
    sa.Column("store_id", _integer, primary_key=True, autoincrement=False),
    sa.Column("revision", _integer, primary_key=True, autoincrement=False),
    sa.Column("committed_at", _integer, nullable=False),
    sa.Column("schema_changed", sa.SmallInteger, nullable=False),
    sa.Column("metadata", _text, nullable=False),
    sa.Column("added", _integer, nullable=False),
    sa.Column("removed", _integer, nullable=False),
    sa.Column("changes", sa.LargeBinary, nullable=False),
    sa.Column("parts", _integer, nullable=False),
    sa.Index("pdp_transactions_time", "store_id", "committed_at"),
)

transaction_parts = sa.Table(
    "pdp_transaction_parts",
    metadata,
    sa.Column("store_id", _integer, primary_key=True, autoincrement=False),
    sa.Column("revision", _integer, primary_key=True, autoincrement=False),
    sa.Column("part", _integer, primary_key=True, autoincrement=False),
    sa.Column("changes", sa.LargeBinary, nullable=False),
)

kinds = sa.Table(
    "pdp_kinds",
    metadata,
    sa.Column("store_id", _integer, primary_key=True, autoincrement=False),
    sa.Column("resource_type", _text, primary_key=True),
    sa.Column("relation", _text, primary_key=True),
    sa.Column("subject_type", _text, primary_key=True),
    sa.Column("subject_relation", _text, primary_key=True),
    sa.Column("wildcard", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("caveat_name", _text, primary_key=True),
    sa.Column("expiration", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("living", _integer, nullable=False),
)

idempotency_keys = sa.Table(
    "pdp_idempotency_keys",
    metadata,
    sa.Column("store_id", _integer, primary_key=True, autoincrement=False),
    sa.Column("key", _text, primary_key=True),
    sa.Column("request_hash", sa.LargeBinary, nullable=False),
    sa.Column("result", _text, nullable=False),
    sa.Column("created_at", _integer, nullable=False),
)

counters = sa.Table(
    "pdp_counters",
    metadata,
    sa.Column("store_id", _integer, primary_key=True, autoincrement=False),
    sa.Column("name", _text, primary_key=True),
    sa.Column("filter", _text, nullable=False),
)

leases = sa.Table(
    "pdp_leases",
    metadata,
    sa.Column("name", _text, primary_key=True),
    sa.Column("holder", _text, nullable=False),
    sa.Column("until", _integer, nullable=False),
)

programs = sa.Table(
    "pdp_programs",
    metadata,
    sa.Column("oldest", _integer, primary_key=True, autoincrement=False),
)
"""One row: the oldest schema version a program may have been written for and still run on these tables."""

COLUMNS = (
    "resource_type",
    "resource_id",
    "relation",
    "subject_type",
    "subject_id",
    "subject_relation",
    "caveat_name",
    "caveat_context",
    "expires_at",
    "valid_from",
)
"""`pdp.relationships.Relationship`'s fields, in order."""

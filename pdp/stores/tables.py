"""The tables of relationships, as SQLAlchemy Core knows them. `pdp.migrations` makes them.

Every key leads with the store, so that the same tables distribute by store. A living row's ``deleted`` is `LIVING`,
the greatest integer, so that uniqueness over (store, key, deleted) allows one living row a relationship.
"""

import sqlalchemy as sa

LIVING = 2**63 - 1

metadata = sa.MetaData()

_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

stores = sa.Table(
    "stores",
    metadata,
    sa.Column("store_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("name", _id, nullable=False, unique=True),
    sa.Column("timeline", _id, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("head", sa.BigInteger, nullable=False),
    sa.Column("schema_revision", sa.BigInteger, nullable=False),
)

schemas = sa.Table(
    "schemas",
    metadata,
    sa.Column("store_id", sa.BigInteger, primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True),
    sa.Column("text", _id, nullable=False),
)

transactions = sa.Table(
    "transactions",
    metadata,
    sa.Column("store_id", sa.BigInteger, primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True),
    sa.Column("committed_at", sa.BigInteger, nullable=False),
    sa.Column("schema_changed", sa.Boolean, nullable=False),
    sa.Column("metadata", _id, nullable=False),
)

relationships = sa.Table(
    "relationships",
    metadata,
    sa.Column("store_id", sa.BigInteger, primary_key=True),
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("deleted", sa.BigInteger, primary_key=True),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("reverse_key", sa.LargeBinary, nullable=False),
    sa.Column("resource_type", _id, nullable=False),
    sa.Column("resource_id", _id, nullable=False),
    sa.Column("relation", _id, nullable=False),
    sa.Column("subject_type", _id, nullable=False),
    sa.Column("subject_id", _id, nullable=False),
    sa.Column("subject_relation", _id, nullable=False),
    sa.Column("caveat_name", _id, nullable=False),
    sa.Column("caveat_context", _id, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("valid_from", sa.BigInteger),
    sa.Index("relationships_reverse", "store_id", "reverse_key"),
    sa.Index("relationships_created", "store_id", "created"),
    sa.Index("relationships_deleted", "store_id", "deleted"),
    sqlite_with_rowid=False,
)

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
"""`pdp.relationships.Relationship`'s fields."""

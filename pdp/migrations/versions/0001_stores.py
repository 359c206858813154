"""Stores, their schemas and relationships, the changelog, and what operators keep beside them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_LIVING = 2**63 - 1
_text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "pdp_stores",
        sa.Column("store_id", _integer, primary_key=True, autoincrement=False),
        sa.Column("name", _text, nullable=False),
        sa.Column("timeline", _text, nullable=False),
        sa.Column("zookie_key", sa.LargeBinary, nullable=False),
        sa.Column("hash_key", sa.LargeBinary, nullable=False),
        sa.Column("revision", _integer, nullable=False),
        sa.Column("committed_at", _integer, nullable=False),
        sa.Column("schema_revision", _integer, nullable=False),
        sa.Column("oldest", _integer, nullable=False),
        sa.Column("relationships", _integer, nullable=False),
        sa.Column("relationships_max", _integer),
        sa.Column("writes_per_second_max", _integer),
        sa.Column("allowance", _integer, nullable=False),
        sa.Column("created_at", _integer, nullable=False),
        sa.Column("deleted_at", _integer),
    )
    _where_index("pdp_stores_name", "pdp_stores", ["name"], "deleted_at IS NULL", unique=True)
    op.create_table(
        "pdp_schemas",
        sa.Column("store_id", _integer, primary_key=True, autoincrement=False),
        sa.Column("revision", _integer, primary_key=True, autoincrement=False),
        sa.Column("text", _text, nullable=False),
    )
    op.create_table(
        "pdp_relationships",
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
    )
    op.create_index(
        "pdp_relationships_key", "pdp_relationships", ["store_id", "slot", "pair", "deleted"], unique=True
    )
    op.create_index("pdp_relationships_subject", "pdp_relationships", ["store_id", "subject_slot", "pair"])
    _where_index("pdp_relationships_dead", "pdp_relationships", ["store_id", "deleted"], f"deleted < {_LIVING}")
    for column in ("expires_at", "valid_from"):
        _where_index(
            f"pdp_relationships_{column}", "pdp_relationships", ["store_id", column], f"{column} IS NOT NULL"
        )
    op.create_table(
        "pdp_transactions",
        sa.Column("store_id", _integer, primary_key=True, autoincrement=False),
        sa.Column("revision", _integer, primary_key=True, autoincrement=False),
        sa.Column("committed_at", _integer, nullable=False),
        sa.Column("schema_changed", sa.SmallInteger, nullable=False),
        sa.Column("metadata", _text, nullable=False),
        sa.Column("added", _integer, nullable=False),
        sa.Column("removed", _integer, nullable=False),
        sa.Column("changes", sa.LargeBinary, nullable=False),
        sa.Column("parts", _integer, nullable=False),
    )
    op.create_index("pdp_transactions_time", "pdp_transactions", ["store_id", "committed_at"])
    op.create_table(
        "pdp_transaction_parts",
        sa.Column("store_id", _integer, primary_key=True, autoincrement=False),
        sa.Column("revision", _integer, primary_key=True, autoincrement=False),
        sa.Column("part", _integer, primary_key=True, autoincrement=False),
        sa.Column("changes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "pdp_kinds",
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
    op.create_table(
        "pdp_idempotency_keys",
        sa.Column("store_id", _integer, primary_key=True, autoincrement=False),
        sa.Column("key", _text, primary_key=True),
        sa.Column("request_hash", sa.LargeBinary, nullable=False),
        sa.Column("result", _text, nullable=False),
        sa.Column("created_at", _integer, nullable=False),
    )
    op.create_table(
        "pdp_counters",
        sa.Column("store_id", _integer, primary_key=True, autoincrement=False),
        sa.Column("name", _text, primary_key=True),
        sa.Column("filter", _text, nullable=False),
    )
    op.create_table(
        "pdp_leases",
        sa.Column("name", _text, primary_key=True),
        sa.Column("holder", _text, nullable=False),
        sa.Column("until", _integer, nullable=False),
    )
    programs = op.create_table("pdp_programs", sa.Column("oldest", _integer, primary_key=True, autoincrement=False))
    op.bulk_insert(programs, [{"oldest": 1}])


def _where_index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, postgresql_where=condition, sqlite_where=condition)

"""Stores, schemas, transactions and relationships."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_id = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "stores",
        sa.Column(
            "store_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        sa.Column("name", _id, nullable=False, unique=True),
        sa.Column("timeline", _id, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("head", sa.BigInteger, nullable=False),
        sa.Column("schema_revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "schemas",
        sa.Column("store_id", sa.BigInteger, primary_key=True),
        sa.Column("revision", sa.BigInteger, primary_key=True),
        sa.Column("text", _id, nullable=False),
    )
    op.create_table(
        "transactions",
        sa.Column("store_id", sa.BigInteger, primary_key=True),
        sa.Column("revision", sa.BigInteger, primary_key=True),
        sa.Column("committed_at", sa.BigInteger, nullable=False),
        sa.Column("schema_changed", sa.Boolean, nullable=False),
        sa.Column("metadata", _id, nullable=False),
    )
    op.create_table(
        "relationships",
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
        sqlite_with_rowid=False,
    )
    op.create_index("relationships_reverse", "relationships", ["store_id", "reverse_key"])
    op.create_index("relationships_created", "relationships", ["store_id", "created"])
    op.create_index("relationships_deleted", "relationships", ["store_id", "deleted"])

"""Clients, keys, the feed, grants and their tokens, replays and the audit chains.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _text(name: str, *, nullable: bool = False) -> "sa.Column[str]":
    return sa.Column(name, _TEXT, nullable=nullable)


def _integer(name: str, *, nullable: bool = False) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger(), nullable=nullable, autoincrement=False)


def _bytes(name: str, *, nullable: bool = False) -> "sa.Column[bytes]":
    return sa.Column(name, sa.LargeBinary(), nullable=nullable)


def upgrade() -> None:
    """Make the tables."""
    key = sa.PrimaryKeyConstraint
    op.create_table("authn_marks", _text("name"), _integer("made_at_ms"), key("name"))
    op.create_table(
        "authn_clients",
        _text("client_id"),
        _text("metadata"),
        _integer("created_at_ms"),
        _integer("updated_at_ms"),
        _integer("disabled_at_ms", nullable=True),
        key("client_id"),
    )
    op.create_table(
        "authn_client_secrets",
        _text("client_id"),
        _bytes("secret_hash"),
        _integer("created_at_ms"),
        _integer("expires_at_ms", nullable=True),
        key("client_id", "secret_hash"),
    )
    op.create_table(
        "authn_signing_keys",
        _text("kid"),
        _text("algorithm"),
        _text("state"),
        sa.Column("version", sa.Integer(), nullable=False),
        _integer("created_at_ms"),
        _integer("state_since_ms"),
        _integer("published_at_ms", nullable=True),
        _text("public_jwk"),
        _text("kek_id", nullable=True),
        _bytes("wrapped_key", nullable=True),
        _bytes("sealed_private", nullable=True),
        key("kid"),
    )
    op.create_index(
        "authn_signing_keys_one_active",
        "authn_signing_keys",
        ["algorithm"],
        unique=True,
        postgresql_where=sa.text("state = 'active'"),
        sqlite_where=sa.text("state = 'active'"),
    )
    op.create_table(
        "authn_shared_secrets",
        _text("name"),
        _text("kek_id"),
        _bytes("wrapped_key"),
        _bytes("sealed"),
        _integer("created_at_ms"),
        key("name"),
    )
    head = op.create_table(
        "authn_feed_head",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        _integer("position"),
        key("id"),
    )
    op.bulk_insert(head, [{"id": 1, "position": 0}])
    op.create_table(
        "authn_feed",
        _integer("position"),
        _text("kind"),
        _text("value"),
        _integer("expires_at_ms"),
        _integer("recorded_at_ms"),
        key("position"),
    )
    _grants_and_tokens()
    _audit()


def _grants_and_tokens() -> None:
    key = sa.PrimaryKeyConstraint
    op.create_table(
        "authn_grants",
        _text("grant_id"),
        _text("client_id"),
        _text("subject"),
        _text("facts"),
        _text("jkt", nullable=True),
        _text("session_id", nullable=True),
        _text("lineage", nullable=True),
        _integer("created_at_ms"),
        _integer("expires_at_ms"),
        _integer("used_at_ms", nullable=True),
        _integer("revoked_at_ms", nullable=True),
        _text("revoked_because", nullable=True),
        key("grant_id"),
    )
    op.create_index("authn_grants_by_subject", "authn_grants", ["subject"])
    op.create_index("authn_grants_by_client", "authn_grants", ["client_id"])
    op.create_index("authn_grants_by_session", "authn_grants", ["session_id"])
    op.create_index("authn_grants_by_expiry", "authn_grants", ["expires_at_ms"])
    op.create_table(
        "authn_refresh_tokens",
        _bytes("token_hash"),
        _text("grant_id"),
        _integer("issued_at_ms"),
        _integer("expires_at_ms"),
        _integer("used_at_ms", nullable=True),
        _bytes("answer", nullable=True),
        key("token_hash"),
    )
    op.create_index("authn_refresh_tokens_by_grant", "authn_refresh_tokens", ["grant_id"])
    op.create_table(
        "authn_opaque_tokens", _bytes("token_hash"), _text("claims"), _integer("expires_at_ms"), key("token_hash")
    )
    op.create_index("authn_opaque_tokens_by_expiry", "authn_opaque_tokens", ["expires_at_ms"])
    op.create_table("authn_replays", _bytes("key"), _integer("expires_at_ms"), key("key"))
    op.create_index("authn_replays_by_expiry", "authn_replays", ["expires_at_ms"])


def _audit() -> None:
    key = sa.PrimaryKeyConstraint
    op.create_table(
        "authn_audit_chains",
        _text("chain"),
        _integer("started_at_ms"),
        _integer("head"),
        _bytes("head_hash"),
        _integer("closed_at_ms", nullable=True),
        key("chain"),
    )
    op.create_table(
        "authn_audit_events",
        _text("chain"),
        _integer("number"),
        _integer("at_ms"),
        _text("name"),
        _text("record"),
        _bytes("hash"),
        key("chain", "number"),
    )
    op.create_index("authn_audit_events_by_time", "authn_audit_events", ["at_ms"])

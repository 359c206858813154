"""The tables of ``authn``, as SQLAlchemy Core describes them. Times are milliseconds since 1970.

Nothing here holds a secret in clear: tokens and client secrets are SHA-256 digests of random values, private keys
and shared secrets are sealed (`authn.envelope`).
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text
from sqlalchemy.types import TypeEngine

METADATA = MetaData()
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Ids compare and sort by their bytes everywhere."""


def _required(name: str, type_: type[TypeEngine[Any]] | None = None, *, key: bool = False) -> Column[Any]:
    return Column(name, type_() if type_ else _TEXT, primary_key=key, nullable=False, autoincrement=False)


def _optional(name: str, type_: type[TypeEngine[Any]] | None = None) -> Column[Any]:
    return Column(name, type_() if type_ else _TEXT, nullable=True)


marks = Table(
    "authn_marks",
    METADATA,
    _required("name", key=True),
    _required("made_at_ms", BigInteger),
    comment="What happens once in an installation's life, such as its first start.",
)

clients = Table(
    "authn_clients",
    METADATA,
    _required("client_id", key=True),
    _required("metadata"),
    _required("created_at_ms", BigInteger),
    _required("updated_at_ms", BigInteger),
    _optional("disabled_at_ms", BigInteger),
)

client_secrets = Table(
    "authn_client_secrets",
    METADATA,
    _required("client_id", key=True),
    _required("secret_hash", LargeBinary, key=True),
    _required("created_at_ms", BigInteger),
    _optional("expires_at_ms", BigInteger),
)

signing_keys = Table(
    "authn_signing_keys",
    METADATA,
    _required("kid", key=True),
    _required("algorithm"),
    _required("state"),
    _required("version", Integer),
    _required("created_at_ms", BigInteger),
    _required("state_since_ms", BigInteger),
    _optional("published_at_ms", BigInteger),
    _required("public_jwk"),
    _optional("kek_id"),
    _optional("wrapped_key", LargeBinary),
    _optional("sealed_private", LargeBinary),
    Index(
        "authn_signing_keys_one_active",
        "algorithm",
        unique=True,
        postgresql_where=text("state = 'active'"),
        sqlite_where=text("state = 'active'"),
    ),
)

shared_secrets = Table(
    "authn_shared_secrets",
    METADATA,
    _required("name", key=True),
    _required("kek_id"),
    _required("wrapped_key", LargeBinary),
    _required("sealed", LargeBinary),
    _required("created_at_ms", BigInteger),
)

feed_head = Table(
    "authn_feed_head",
    METADATA,
    _required("id", Integer, key=True),
    _required("position", BigInteger),
    comment="One row: the position of the newest feed entry. Its lock orders the writers.",
)

feed = Table(
    "authn_feed",
    METADATA,
    _required("position", BigInteger, key=True),
    _required("kind"),
    _required("value"),
    _required("expires_at_ms", BigInteger),
    _required("recorded_at_ms", BigInteger),
    comment="What every process must learn of: revocations, and changes of clients and keys.",
)

grants = Table(
    "authn_grants",
    METADATA,
    _required("grant_id", key=True),
    _required("client_id"),
    _required("subject"),
    _required("facts"),
    _optional("jkt"),
    _optional("session_id"),
    _optional("lineage"),
    _required("created_at_ms", BigInteger),
    _required("expires_at_ms", BigInteger),
    _optional("used_at_ms", BigInteger),
    _optional("revoked_at_ms", BigInteger),
    _optional("revoked_because"),
    Index("authn_grants_by_subject", "subject"),
    Index("authn_grants_by_client", "client_id"),
    Index("authn_grants_by_session", "session_id"),
    Index("authn_grants_by_expiry", "expires_at_ms"),
    comment="Families of refresh tokens.",
)

refresh_tokens = Table(
    "authn_refresh_tokens",
    METADATA,
    _required("token_hash", LargeBinary, key=True),
    _required("grant_id"),
    _required("issued_at_ms", BigInteger),
    _required("expires_at_ms", BigInteger),
    _optional("used_at_ms", BigInteger),
    _optional("answer", LargeBinary),
    Index("authn_refresh_tokens_by_grant", "grant_id"),
)

opaque_tokens = Table(
    "authn_opaque_tokens",
    METADATA,
    _required("token_hash", LargeBinary, key=True),
    _required("claims"),
    _required("expires_at_ms", BigInteger),
    Index("authn_opaque_tokens_by_expiry", "expires_at_ms"),
)

replays = Table(
    "authn_replays",
    METADATA,
    _required("key", LargeBinary, key=True),
    _required("expires_at_ms", BigInteger),
    Index("authn_replays_by_expiry", "expires_at_ms"),
)

audit_chains = Table(
    "authn_audit_chains",
    METADATA,
    _required("chain", key=True),
    _required("started_at_ms", BigInteger),
    _required("head", BigInteger),
    _required("head_hash", LargeBinary),
    _optional("closed_at_ms", BigInteger),
)

audit_events = Table(
    "authn_audit_events",
    METADATA,
    _required("chain", key=True),
    _required("number", BigInteger, key=True),
    _required("at_ms", BigInteger),
    _required("name"),
    _required("record"),
    _required("hash", LargeBinary),
    Index("authn_audit_events_by_time", "at_ms"),
)

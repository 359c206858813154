"""What is worth telling of: each kind of event by its name, ``authn.<object>.<verb>.<outcome>``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

Fact: TypeAlias = str | int | float | bool | list[str] | dict[str, str] | None


class EventName(Enum):
    """Every event there is."""

    TOKEN_ISSUED = "authn.token.issue.success"
    TOKEN_REFUSED = "authn.token.issue.refused"
    TOKEN_REVOKED = "authn.token.revoke.success"
    REVOCATION_REFUSED = "authn.token.revoke.refused"
    INTROSPECTION_REFUSED = "authn.token.introspect.refused"
    REFRESH_REUSED = "authn.refresh.reuse.detected"
    GRANT_STARTED = "authn.grant.start.success"
    GRANT_REVOKED = "authn.grant.revoke.success"
    SESSION_REVOKED = "authn.session.revoke.success"
    SUBJECT_REVOKED = "authn.subject.revoke.success"
    CLIENT_CREATED = "authn.client.create.success"
    CLIENT_CHANGED = "authn.client.change.success"
    CLIENT_DISABLED = "authn.client.disable.success"
    CLIENT_ENABLED = "authn.client.enable.success"
    CLIENT_REMOVED = "authn.client.remove.success"
    SECRET_ROTATED = "authn.client.rotate_secret.success"
    KEY_MOVED = "authn.key.move.success"
    KEY_COMPROMISED = "authn.key.compromise.success"
    CHAIN_STARTED = "authn.audit.start.success"
    CHAIN_ANCHORED = "authn.audit.anchor.success"
    CHAIN_CLOSED = "authn.audit.close.success"
    REFUSALS_SUPPRESSED = "authn.audit.refusals.suppressed"


REFUSALS = frozenset({EventName.TOKEN_REFUSED, EventName.REVOCATION_REFUSED, EventName.INTROSPECTION_REFUSED})
"""What anybody can make happen as often as they like; kept to a bounded rate."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. Facts never hold a token, a secret or a proof."""

    name: EventName
    facts: Mapping[str, Fact] = field(default_factory=dict)

"""What an evaluation walks: a few reads, each answered at once or *not loaded* yet."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from pdp.relationships import ObjectRef, Relationship, SubjectRef
from pdp.stores.protocol import Found, Read, ResourcesRead, SubjectsRead


class Graph(Protocol):
    """Relationships at one revision, as far as they are loaded. Times are not judged here."""

    def get(self, read: Read) -> Sequence[Found] | None:
        """The relationships that the read asks for; ``None`` where they are not loaded."""
        ...


class WithContextual:
    """A graph as if the request's contextual relationships had been written to it.

    Where one has the identity of a stored relationship it stands in its place, as a TOUCH would.
    """

    def __init__(self, base: Graph, contextual: Iterable[Relationship]) -> None:
        self._base = base
        self._subjects: dict[tuple[ObjectRef, str, str, str], dict[str, Found]] = {}
        self._resources: dict[tuple[SubjectRef, str, str], dict[str, Found]] = {}
        for r in contextual:
            when = (r.caveat_name, r.caveat_context, r.expires_at, r.valid_from)
            forward = (r.resource, r.relation, r.subject_type, r.subject_relation)
            self._subjects.setdefault(forward, {})[r.subject_id] = Found(r.subject_id, *when)
            reverse = (r.subject, r.resource_type, r.relation)
            self._resources.setdefault(reverse, {})[r.resource_id] = Found(r.resource_id, *when)

    def get(self, read: Read) -> Sequence[Found] | None:
        """See `Graph`."""
        stored = self._base.get(read)
        if stored is None:
            return None
        extra = self._extra(read)
        if not extra:
            return stored
        return [found for found in stored if found.id not in extra] + list(extra.values())

    def _extra(self, read: Read) -> Mapping[str, Found]:
        match read:
            case SubjectsRead(resource, relation, subject_type, subject_relation, ids):
                slot = self._subjects.get((resource, relation, subject_type, subject_relation), {})
                return {id_: slot[id_] for id_ in ids if id_ in slot} if ids else slot
            case ResourcesRead(subject, resource_type, relation):
                return self._resources.get((subject, resource_type, relation), {})

"""How two schemas differ, part by part, in the nineteen ways that the wire knows."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from schema.model import AllowedSubject, Caveat, CaveatType, Definition, Relation, Schema


class DifferenceKind(Enum):
    """What changed from the one to the other; the values are the wire's field names."""

    DEFINITION_ADDED = "definition_added"
    DEFINITION_REMOVED = "definition_removed"
    DEFINITION_DOC_COMMENT_CHANGED = "definition_doc_comment_changed"
    RELATION_ADDED = "relation_added"
    RELATION_REMOVED = "relation_removed"
    RELATION_DOC_COMMENT_CHANGED = "relation_doc_comment_changed"
    RELATION_SUBJECT_TYPE_ADDED = "relation_subject_type_added"
    RELATION_SUBJECT_TYPE_REMOVED = "relation_subject_type_removed"
    PERMISSION_ADDED = "permission_added"
    PERMISSION_REMOVED = "permission_removed"
    PERMISSION_DOC_COMMENT_CHANGED = "permission_doc_comment_changed"
    PERMISSION_EXPR_CHANGED = "permission_expr_changed"
    CAVEAT_ADDED = "caveat_added"
    CAVEAT_REMOVED = "caveat_removed"
    CAVEAT_DOC_COMMENT_CHANGED = "caveat_doc_comment_changed"
    CAVEAT_EXPR_CHANGED = "caveat_expr_changed"
    CAVEAT_PARAMETER_ADDED = "caveat_parameter_added"
    CAVEAT_PARAMETER_REMOVED = "caveat_parameter_removed"
    CAVEAT_PARAMETER_TYPE_CHANGED = "caveat_parameter_type_changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. A changed or added part is as in the second schema, a removed one as in the first.

    ``definition`` is given with its ``relation`` (or permission), ``caveat`` with its ``parameter``; ``subject`` is
    the type added or removed, ``parameter_type`` the parameter's, ``previous_type`` what it was before.
    """

    kind: DifferenceKind
    definition: Definition | None = None
    relation: Relation | None = None
    subject: AllowedSubject | None = None
    caveat: Caveat | None = None
    parameter: str = ""
    parameter_type: CaveatType | None = None
    previous_type: CaveatType | None = None

    def __str__(self) -> str:
        """Render as ``permission_expr_changed document#view``."""
        where = ""
        if self.definition is not None:
            where = self.definition.name + (f"#{self.relation.name}" if self.relation else "")
        elif self.caveat is not None:
            where = self.caveat.name + (f".{self.parameter}" if self.parameter else "")
        return f"{self.kind.value} {where}"


def diff_schemas(old: Schema, new: Schema) -> list[Difference]:
    """Every difference, definitions before caveats, by name."""
    return [*_definitions(old, new), *_caveats(old, new)]


def _definitions(old: Schema, new: Schema) -> Iterator[Difference]:
    for name in sorted({*old.definitions, *new.definitions}):
        before, after = old.definitions.get(name), new.definitions.get(name)
        if before is None:
            yield Difference(DifferenceKind.DEFINITION_ADDED, after)
        elif after is None:
            yield Difference(DifferenceKind.DEFINITION_REMOVED, before)
        else:
            if before.comment != after.comment:
                yield Difference(DifferenceKind.DEFINITION_DOC_COMMENT_CHANGED, after)
            for member in dict.fromkeys([*before.relations, *after.relations]):
                yield from _member(before, after, before.relations.get(member), after.relations.get(member))


def _member(
    definition: Definition, renewed: Definition, before: Relation | None, after: Relation | None
) -> Iterator[Difference]:
    if before is None or after is None or before.is_permission is not after.is_permission:
        if before is not None:
            yield Difference(_kind(before, "REMOVED"), definition, before)
        if after is not None:
            yield Difference(_kind(after, "ADDED"), renewed, after)
        return
    if before.comment != after.comment:
        yield Difference(_kind(after, "DOC_COMMENT_CHANGED"), renewed, after)
    if before.rewrite != after.rewrite:
        yield Difference(DifferenceKind.PERMISSION_EXPR_CHANGED, renewed, after)
    for subject in after.allowed:
        if subject not in before.allowed:
            yield Difference(DifferenceKind.RELATION_SUBJECT_TYPE_ADDED, renewed, after, subject)
    for subject in before.allowed:
        if subject not in after.allowed:
            yield Difference(DifferenceKind.RELATION_SUBJECT_TYPE_REMOVED, renewed, after, subject)


def _kind(member: Relation, change: str) -> DifferenceKind:
    return DifferenceKind[f"{'PERMISSION' if member.is_permission else 'RELATION'}_{change}"]


def _caveats(old: Schema, new: Schema) -> Iterator[Difference]:
    for name in sorted({*old.caveats, *new.caveats}):
        before, after = old.caveats.get(name), new.caveats.get(name)
        if before is None:
            yield Difference(DifferenceKind.CAVEAT_ADDED, caveat=after)
        elif after is None:
            yield Difference(DifferenceKind.CAVEAT_REMOVED, caveat=before)
        else:
            yield from _caveat(before, after)


def _caveat(before: Caveat, after: Caveat) -> Iterator[Difference]:
    if before.comment != after.comment:
        yield Difference(DifferenceKind.CAVEAT_DOC_COMMENT_CHANGED, caveat=after)
    if before.expression != after.expression:
        yield Difference(DifferenceKind.CAVEAT_EXPR_CHANGED, caveat=after)
    for name in sorted({*before.parameters, *after.parameters}):
        old, new = before.parameters.get(name), after.parameters.get(name)
        if old is None:
            kind = DifferenceKind.CAVEAT_PARAMETER_ADDED
            yield Difference(kind, caveat=after, parameter=name, parameter_type=new)
        elif new is None:
            kind = DifferenceKind.CAVEAT_PARAMETER_REMOVED
            yield Difference(kind, caveat=before, parameter=name, parameter_type=old)
        elif old != new:
            kind = DifferenceKind.CAVEAT_PARAMETER_TYPE_CHANGED
            yield Difference(kind, caveat=after, parameter=name, parameter_type=new, previous_type=old)

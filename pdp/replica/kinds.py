"""What the schema shows of recursion: which kinds ask which, where that leads back, and what is a union throughout.

A *kind* is a relation of a type, asked for one kind of subject.
"""

from collections.abc import Iterator

from pdp.program import (
    AllRule,
    AnyRule,
    ArrowRule,
    ButNotRule,
    ComputedRule,
    DirectRule,
    Program,
    RelationKey,
    Rule,
    SelfRule,
    SubjectType,
)


def parts(rule: Rule) -> Iterator[Rule]:
    """A rule and all rules inside it."""
    left = [rule]
    while left:
        part = left.pop()
        yield part
        match part:
            case AnyRule(children) | AllRule(children):
                left.extend(children)
            case ButNotRule(base, subtract):
                left += [base, subtract]


class KindGraph:
    """The kinds of a program for one kind of subject. Everything is found when first asked for, and kept."""

    def __init__(self, program: Program, subject: SubjectType) -> None:
        self.program = program
        self.subject = subject
        self._asked: dict[RelationKey, frozenset[RelationKey]] = {}
        self._reached: dict[RelationKey, frozenset[RelationKey]] = {}

    def holds(self, key: RelationKey) -> bool:
        """Whether the subject can ever be found in a kind."""
        return self.subject in self.program.reach[key]

    def asked(self, key: RelationKey) -> frozenset[RelationKey]:
        """The kinds that a kind asks, of those in which the subject can be found."""
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = frozenset(filter(self.holds, self._targets(key)))
        return asked

    def _targets(self, key: RelationKey) -> Iterator[RelationKey]:
        for rule in parts(self.program.rules[key]):
            match rule:
                case DirectRule(usersets=usersets):
                    yield from (RelationKey(*userset) for userset in usersets)
                case ComputedRule(relation):
                    yield RelationKey(key.type, relation)
                case ArrowRule(computed=computed, slots=slots):
                    yield from (RelationKey(slot.type, computed) for slot in slots)

    def reached(self, key: RelationKey) -> frozenset[RelationKey]:
        """Every kind that a kind asks, however far; itself only where it leads back to itself."""
        known = self._reached.get(key)
        if known is None:
            found: set[RelationKey] = set()
            walking = [key]
            while walking:
                for target in self.asked(walking.pop()):
                    if target not in found:
                        found.add(target)
                        walking.append(target)
            known = self._reached[key] = frozenset(found)
        return known

    def recursive(self, key: RelationKey) -> bool:
        """Whether a kind leads back to itself, so that data can recurse."""
        return key in self.reached(key)

    def component(self, key: RelationKey) -> list[RelationKey]:
        """The kinds that a recursive kind leads to and that lead back to it, itself included, sorted."""
        return sorted(other for other in self.reached(key) if key in self.reached(other))

    def is_union(self, key: RelationKey) -> bool:
        """Whether a kind, and all that it asks, are unions: what they hold is what can be reached."""
        return all(
            not isinstance(part, AllRule | ButNotRule | SelfRule) and not (isinstance(part, ArrowRule) and part.every)
            for kind in {key, *self.reached(key)}
            for part in parts(self.program.rules[kind])
        )

"""Trees of permissions: their exact shapes, and that what they add up to is what checks tell."""

from collections.abc import Sequence
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import given

from pdp.errors import NegationCycle, UnknownDefinition, UnknownRelation, WorkExceeded
from pdp.expand import Branch, Expansion, Leaf, Operation, Tree
from pdp.relationships import WILDCARD, Instant, ObjectRef, Relationship, SubjectRef
from schema.compile import compile_schema
from tests import notation, strategies
from tests.oracle import HAS, PARADOX, Oracle
from tests.pdp.test_differential_check import LOADED, LUCK, World, worlds
from tests.rationed import RationedGraph, drive
from tests.strategies import NOW, examples

FOLDER = ObjectRef("folder", "f")

SCHEMA = compile_schema("""
    use expiration
    use self
    caveat ask(inside bool) { inside }
    definition user {}
    definition robot {}
    definition group {
        relation member: user | group#member | user with ask
        relation open: user:*
        relation boss: user | robot
        permission everyone = member + boss
    }
    definition folder {
        relation parent: folder | group
        relation viewer: user | group#member
        relation banned: user with expiration | user
        relation team: group#member
        permission alone = viewer
        permission both = viewer & banned
        permission less = viewer - banned
        permission three = (viewer + banned) & (viewer - banned)
        permission nobody = nil
        permission with_nobody = viewer + nil
        permission itself = viewer + self
        permission upward = parent->viewer
        permission any_up = viewer + parent.any(viewer)
        permission all_up = parent.all(viewer)
        permission named = alone + team->boss
        permission above = viewer + parent->above
        permission strict = viewer - parent->strict
        permission late = banned
    }
""")

Shape: TypeAlias = Any
"""A tree as a reader writes it: a leaf is a list of subjects, a branch a tuple of its operation and children."""

_OPERATIONS = {"or": Operation.UNION, "and": Operation.INTERSECTION, "not": Operation.EXCLUSION}


def shape(tree: Tree) -> Shape:
    """The shape of a tree, objects and names left out."""
    if isinstance(tree, Leaf):
        return [str(subject) for subject in tree.subjects]
    name = next(name for name, operation in _OPERATIONS.items() if operation is tree.operation)
    return (name, *map(shape, tree.children))


def expand(
    stored: Sequence[Relationship],
    permission: str,
    *,
    resource: ObjectRef = FOLDER,
    instant: Instant = NOW,
    contextual: Sequence[Relationship] = (),
    nodes_max: int = 1_000,
    loaded: float = 0.0,
) -> Tree:
    """The tree over these relationships."""
    walk = Expansion(SCHEMA, resource, permission, instant=instant, nodes_max=nodes_max, reads_max=100_000)
    drive(walk, RationedGraph(stored, Random(1), loaded), contextual=contextual, steps_max=10)
    return walk.tree


STORED = """
    folder:f#viewer@user:bob
    folder:f#viewer@user:ann
    folder:f#viewer@group:eng#member
    folder:f#banned@user:tom
    folder:f#parent@folder:p
    folder:f#parent@folder:q
    folder:p#viewer@user:eve
    folder:f#team@group:eng#member
    group:eng#member@user:kim
    group:eng#boss@user:kim
    group:eng#boss@robot:r2
"""
VIEWERS = ["group:eng#member", "user:ann", "user:bob"]


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        pytest.param("viewer", VIEWERS, id="a relation is a leaf, usersets not followed"),
        pytest.param("alone", ("or", VIEWERS), id="a single operand stands under a union"),
        pytest.param("both", ("or", ("and", VIEWERS, ["user:tom"])), id="intersection under a union"),
        pytest.param("less", ("or", ("not", VIEWERS, ["user:tom"])), id="exclusion under a union"),
        pytest.param(
            "three",
            ("or", ("and", ("or", VIEWERS, ["user:tom"]), ("not", VIEWERS, ["user:tom"]))),
            id="operators as they were written",
        ),
        pytest.param("nobody", ("or", []), id="nil is an empty leaf"),
        pytest.param("with_nobody", ("or", VIEWERS, []), id="nil beside another"),
        pytest.param("itself", ("or", VIEWERS, ["folder:f"]), id="self is a leaf with the object"),
        pytest.param("upward", ("or", ("or", ["user:eve"], [])), id="an arrow is a union with a child an object"),
        pytest.param("any_up", ("or", VIEWERS, ("or", ["user:eve"], [])), id="any is an arrow"),
        pytest.param("all_up", ("or", ("and", ["user:eve"], [])), id="all is an intersection"),
        pytest.param(
            "named",
            ("or", ("or", VIEWERS), ("or", ["robot:r2", "user:kim"])),
            id="permissions are followed, subject relations of an arrow are not looked at",
        ),
    ],
)
@pytest.mark.parametrize("loaded", [0.0, 1.0], ids=["cold", "loaded"])
def test_shape(permission: str, expected: Shape, loaded: float) -> None:
    """Of each construct, as the field draws it."""
    assert shape(expand(notation.relationships(STORED), permission, loaded=loaded)) == expected


@pytest.mark.parametrize(
    ("stored", "permission", "expected"),
    [
        pytest.param("", "viewer", [], id="a relation of nobody"),
        pytest.param("", "upward", ("or", ("or",)), id="an arrow to nothing is a union of nothing"),
        pytest.param("", "all_up", ("or", ("and",)), id="so is all"),
        pytest.param(
            "folder:f#parent@group:eng\ngroup:eng#member@user:kim",
            "upward",
            ("or", ("or", [])),
            id="an object without the target is an empty leaf",
        ),
        pytest.param("group:eng#open@user:*", "open", ["user:*"], id="a wildcard is a subject"),
        pytest.param("group:eng#member@user:kim[ask]", "member", ["user:kim"], id="caveats are not shown"),
        pytest.param(
            "folder:f#parent@folder:p\nfolder:p#parent@folder:f\nfolder:p#viewer@user:ann",
            "above",
            ("or", [], ("or", ("or", ["user:ann"], ("or", [])))),
            id="a circle ends in an empty leaf",
        ),
        pytest.param(
            "folder:f#banned@user:ann[expiration:1970-01-01T00:00:00.000010Z]",
            "late",
            ("or", []),
            id="what expires now is not shown",
        ),
        pytest.param(
            "folder:f#banned@user:ann[expiration:1970-01-01T00:00:00.000011Z]",
            "late",
            ("or", ["user:ann"]),
            id="what expires later is",
        ),
        pytest.param(
            "folder:f#banned@user:ann[valid_from:1970-01-01T00:00:00.000011Z]",
            "late",
            ("or", []),
            id="what is not valid yet is not shown",
        ),
    ],
)
def test_shape_of_what_is_special(stored: str, permission: str, expected: Shape) -> None:
    """Emptiness, wildcards, caveats, circles and time."""
    resource = ObjectRef("group", "eng") if permission in {"member", "open"} else FOLDER
    assert shape(expand(notation.relationships(stored), permission, resource=resource)) == expected


def test_every_node_names_its_object_and_relation() -> None:
    """Operators repeat their permission's, and so does the empty leaf of an object without the target."""
    tree = expand(notation.relationships("folder:f#parent@folder:p\nfolder:f#parent@group:eng"), "any_up")
    here, there = (FOLDER, "any_up"), (ObjectRef("folder", "p"), "viewer")
    assert tree == Branch(
        *here,
        Operation.UNION,
        [
            Leaf(FOLDER, "viewer", []),
            Branch(*here, Operation.UNION, [Leaf(*there, []), Leaf(*here)]),
        ],
    )


def test_contextual_relationships_are_shown() -> None:
    """As if they had been written, also on objects that only they lead to."""
    contextual = notation.relationships("folder:f#parent@folder:new\nfolder:new#viewer@user:zoe")
    assert shape(expand([], "upward", contextual=contextual)) == ("or", ("or", ["user:zoe"]))


def test_what_is_made_of_its_own_negation_has_no_tree() -> None:
    """No empty leaf could stand for it: whoever is not in it would be."""
    stored = notation.relationships("folder:f#parent@folder:p\nfolder:p#parent@folder:f\nfolder:p#viewer@user:ann")
    with pytest.raises(NegationCycle) as caught:
        expand(stored, "strict")
    assert caught.value.cycle == ("folder:f#strict", "folder:p#strict")


def test_a_tree_is_bounded() -> None:
    """Objects that come together again and again grow a tree that doubles every level."""
    stored = [
        Relationship("folder", f"{level}{side}", "parent", "folder", f"{level + 1}{other}")
        for level in range(20)
        for side in "ab"
        for other in "ab"
    ]
    with pytest.raises(WorkExceeded, match="more than 1000 nodes"):
        expand(stored, "above", resource=ObjectRef("folder", "0a"))


def test_a_deep_tree_grows_without_recursion() -> None:
    """Thousands of folders, each in the next."""
    stored = [Relationship("folder", str(i), "parent", "folder", str(i + 1)) for i in range(3_000)]
    tree = expand(stored, "above", resource=ObjectRef("folder", "0"), nodes_max=100_000, loaded=1.0)
    depth = 0
    while isinstance(tree, Branch):
        depth += 1
        tree = tree.children[-1] if tree.children else Leaf(tree.object, tree.relation)
    assert depth == 2 * 3_001


@pytest.mark.parametrize(
    ("resource", "permission", "error"),
    [
        pytest.param(ObjectRef("dossier", "d"), "view", UnknownDefinition, id="unknown type"),
        pytest.param(FOLDER, "view", UnknownRelation, id="unknown permission"),
        pytest.param(FOLDER, "", UnknownRelation, id="no permission"),
    ],
)
def test_unknown_names_are_errors(resource: ObjectRef, permission: str, error: type[Exception]) -> None:
    """Not an empty tree."""
    with pytest.raises(error):
        expand([], permission, resource=resource)


def holds(tree: Tree, subject: SubjectRef, oracle: Oracle) -> bool:
    """Whether somebody is in a tree: named in it, covered, or holding a userset that is; a userset holds itself."""
    if subject == (*tree.object, tree.relation):
        return True
    if isinstance(tree, Leaf):
        return any(_is(leaf, subject, oracle) for leaf in tree.subjects)
    told = [holds(child, subject, oracle) for child in tree.children]
    match tree.operation:
        case Operation.UNION:
            return any(told)
        case Operation.INTERSECTION:
            return bool(told) and all(told)
        case Operation.EXCLUSION:
            return told[0] and not told[1]


def _is(leaf: SubjectRef, subject: SubjectRef, oracle: Oracle) -> bool:
    if leaf.id == WILDCARD:
        return (leaf.type, "") == (subject.type, subject.relation)
    if not leaf.relation or leaf == subject:
        return leaf == subject
    return oracle.check(ObjectRef(leaf.type, leaf.id), leaf.relation, subject) == HAS


@examples(150)
@given(world=worlds(strategies.schemas(caveats=False)), luck=LUCK, loaded=LOADED)
def test_trees_add_up_to_what_checks_tell(world: World, luck: Random, loaded: float) -> None:
    """Every subject on every relation and permission of every object."""
    oracle = Oracle(world.schema, world.stored, instant=NOW)
    graph = RationedGraph(world.stored, luck, loaded)
    for resource, permission in strategies.resources(world.schema):
        graph.forget()
        walk = Expansion(world.schema, resource, permission, instant=NOW, nodes_max=10_000, reads_max=10_000)
        try:
            drive(walk, graph)
        except NegationCycle:
            continue
        for subject in strategies.subjects(world.schema):
            verdict = oracle.check(resource, permission, subject)
            if verdict != PARADOX:
                assert holds(walk.tree, subject, oracle) == (verdict == HAS), (resource, permission, subject)

"""Expanding a permission draws the oracle's tree, and its sets add up to what checks tell."""

from random import Random

from hypothesis import given

from pdp import expand
from pdp.errors import NegationCycle
from pdp.expand import Expansion, Operation
from pdp.relationships import ObjectRef, SubjectRef
from tests import strategies
from tests.oracle import HAS, LACKS, Oracle
from tests.oracle_tree import EXCLUSION, INTERSECTION, UNION, Drawing, Leaf, ParadoxError, Tree, branch, holds
from tests.pdp.test_differential_check import LOADED, LUCK, World, worlds
from tests.rationed import RationedGraph, drive
from tests.strategies import NOW, examples

OPERATIONS = {Operation.UNION: UNION, Operation.INTERSECTION: INTERSECTION, Operation.EXCLUSION: EXCLUSION}


def read(tree: expand.Tree) -> Tree:
    """The engine's tree in the oracle's words."""
    if isinstance(tree, expand.Leaf):
        return Leaf(tree.object, tree.relation, tuple(sorted(tree.subjects)))
    children = [read(child) for child in tree.children]
    return branch(tree.object, tree.relation, OPERATIONS[tree.operation], children)


def expanded(world: World, object_: ObjectRef, relation: str, graph: RationedGraph) -> Tree | None:
    """The engine's tree; None where there is none for a paradox."""
    graph.forget()
    try:
        walk = Expansion(world.schema, object_, relation, instant=NOW, nodes_max=100_000, reads_max=100_000)
        drive(walk, graph, steps_max=7)
    except NegationCycle:
        return None
    return read(walk.tree)


@examples(300)
@given(world=worlds(strategies.schemas()), luck=LUCK, loaded=LOADED)
def test_trees_are_the_oracles(world: World, luck: Random, loaded: float) -> None:
    """Node for node, whatever order the children come in."""
    graph = RationedGraph(world.stored, luck, loaded)
    for object_, relation in world.questions():
        try:
            drawn = Drawing(world.schema, world.stored, instant=NOW).draw(object_, relation)
        except ParadoxError:
            drawn = None
        assert expanded(world, object_, relation, graph) == drawn, f"{object_}#{relation}"


@examples(150)
@given(world=worlds(strategies.schemas()), luck=LUCK)
def test_trees_add_up_to_checks(world: World, luck: Random) -> None:
    """For every object as subject, as if all caveats held; usersets in leaves count if a check says so."""
    oracle = Oracle(world.schema, world.stored, instant=NOW)
    graph = RationedGraph(world.stored, luck)
    for object_, relation in world.questions():
        tree = expanded(world, object_, relation, graph)
        for subject in strategies.subjects(world.schema):
            verdict = oracle.check(object_, relation, subject)
            if tree is None or subject.relation or verdict not in {HAS, LACKS}:
                continue
            asked = {
                userset: oracle.check(ObjectRef(userset.type, userset.id), userset.relation, subject)
                for userset in usersets(tree)
            }
            if set(asked.values()) <= {HAS, LACKS}:
                assert holds(tree, subject, asked.__getitem__) == (verdict == HAS), f"{object_}#{relation}@{subject}"


def usersets(tree: Tree) -> set[SubjectRef]:
    """Every userset in a leaf."""
    if isinstance(tree, Leaf):
        return {subject for subject in tree.subjects if subject.relation}
    return set[SubjectRef]().union(*map(usersets, tree.children))

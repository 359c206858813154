"""The oracle itself, held against answers worked out by hand, and the notations that the tables are written in."""

from collections.abc import Mapping
from typing import NamedTuple

import pytest

from pdp.relationships import Instant, ObjectRef, Relationship
from schema.compile import compile_schema
from schema.model import (
    AllowedSubject,
    Caveat,
    CaveatType,
    ComputedUserset,
    Definition,
    Exclusion,
    Relation,
    Schema,
    This,
    Union,
)
from tests import kleene, notation
from tests.oracle import FAILED, HAS, LACKS, PARADOX, Goal, Oracle, Verdict, conditional

NOON = notation.instant("2030-01-01T12:00:00Z")


class World(NamedTuple):
    """One schema with relationships, and what is to be said of them, each with the context of the question."""

    title: str
    schema: str
    relationships: str
    answers: Mapping[str, str]


WORLDS = [
    World(
        "direct",
        """
        definition user {}
        definition document {
            relation viewer: user
            permission view = viewer
        }
        """,
        "document:one#viewer@user:ann",
        {
            "document:one#viewer@user:ann": "has",
            "document:one#view@user:ann": "has",
            "document:one#view@user:tom": "lacks",
            "document:two#view@user:ann": "lacks",
            "document:two#view@user:nobody": "lacks",
        },
    ),
    World(
        "usersets",
        """
        definition user {}
        definition group {
            relation member: user | group#member | group
        }
        definition document {
            relation viewer: group#member
            permission view = viewer
        }
        """,
        """
        group:eng#member@user:ann
        group:all#member@group:eng#member
        group:odd#member@group:eng
        document:one#viewer@group:all#member
        document:two#viewer@group:odd#member
        """,
        {
            "document:one#view@user:ann": "has",
            "document:one#view@group:all#member": "has",
            "document:one#view@group:eng#member": "has",
            # a group is not its members
            "document:one#view@group:eng": "lacks",
            "document:two#view@group:eng": "has",
            "document:two#view@user:ann": "lacks",
            "document:two#view@group:eng#member": "lacks",
        },
    ),
    World(
        "a userset is a member of itself",
        """
        definition user {}
        definition group {
            relation member: user
            relation banned: user
            permission allowed = member - banned
            permission nobody = nil
        }
        definition document {
            relation owner: group
            permission view = owner->member
            permission share = owner->allowed
        }
        """,
        "document:one#owner@group:eng",
        {
            "group:eng#member@group:eng#member": "has",
            "group:unheard_of#member@group:unheard_of#member": "has",
            "group:eng#nobody@group:eng#nobody": "has",
            "group:eng#allowed@group:eng#member": "has",
            "group:eng#allowed@group:eng#banned": "lacks",
            "group:eng#member@group:eng#allowed": "lacks",
            "group:eng#member@group:ops#member": "lacks",
            "document:one#view@group:eng#member": "has",
            "document:one#share@group:eng#member": "has",
            "document:one#share@group:eng#allowed": "has",
        },
    ),
    World(
        "wildcards",
        """
        definition user {
            relation friend: user
        }
        definition robot {}
        definition document {
            relation viewer: user:*
            relation banned: user
            permission view = viewer - banned
        }
        """,
        """
        document:one#viewer@user:*
        document:one#banned@user:tom
        """,
        {
            "document:one#viewer@user:ann": "has",
            "document:one#viewer@user:never_named": "has",
            "document:one#viewer@user:ann#friend": "lacks",
            "document:one#viewer@robot:r2": "lacks",
            "document:one#view@user:ann": "has",
            "document:one#view@user:tom": "lacks",
        },
    ),
    World(
        "operators",
        """
        use self
        definition user {}
        definition document {
            relation red: user
            relation green: user
            relation blue: user
            permission some = red + green + blue
            permission every = red & green & blue
            permission left = red - green - blue
            permission right = red - (green - blue)
            permission nobody = nil
            permission all_but_nobody = red - nil
            permission itself = self
            permission not_itself = red - self
        }
        """,
        """
        document:one#red@user:red
        document:one#red@user:yellow
        document:one#green@user:yellow
        document:one#red@user:white
        document:one#green@user:white
        document:one#blue@user:white
        """,
        {
            "document:one#some@user:red": "has",
            "document:one#some@user:black": "lacks",
            "document:one#every@user:white": "has",
            "document:one#every@user:yellow": "lacks",
            "document:one#left@user:red": "has",
            "document:one#left@user:white": "lacks",
            "document:one#right@user:white": "has",
            "document:one#right@user:yellow": "lacks",
            "document:one#nobody@user:red": "lacks",
            "document:one#all_but_nobody@user:red": "has",
            "document:one#itself@document:one": "has",
            "document:one#itself@document:two": "lacks",
            "document:one#itself@document:one#red": "lacks",
            "document:one#not_itself@user:red": "has",
        },
    ),
    World(
        "arrows",
        """
        definition user {}
        definition tag {}
        definition folder {
            relation viewer: user
            relation parent: folder
            permission view = viewer + parent->view
        }
        definition document {
            relation parent: folder | folder#viewer | tag
            permission view = parent->view
            permission nowhere = parent->parent
        }
        """,
        """
        folder:root#viewer@user:ann
        folder:sub#parent@folder:root
        document:one#parent@folder:sub
        document:two#parent@folder:root#viewer
        document:three#parent@tag:red
        folder:root#viewer@user:tom
        """,
        {
            "document:one#view@user:ann": "has",
            "document:one#nowhere@folder:root": "has",
            # the subject relation is passed over: the walk goes to the folder itself
            "document:two#view@user:ann": "has",
            "document:three#view@user:ann": "lacks",
        },
    ),
    World(
        "all of the subjects",
        """
        definition user {}
        definition tag {}
        definition team {
            relation member: user
        }
        definition document {
            relation team: team | tag
            permission every = team.all(member)
            permission some = team.any(member)
        }
        """,
        """
        team:a#member@user:ann
        team:b#member@user:ann
        team:a#member@user:tom
        document:both#team@team:a
        document:both#team@team:b
        document:tagged#team@team:a
        document:tagged#team@tag:red
        """,
        {
            "document:both#every@user:ann": "has",
            "document:both#every@user:tom": "lacks",
            "document:both#some@user:tom": "has",
            "document:empty#every@user:ann": "lacks",
            "document:empty#some@user:ann": "lacks",
            "document:tagged#every@user:ann": "lacks",
            "document:tagged#some@user:ann": "has",
        },
    ),
    World(
        "times",
        """
        use expiration
        definition user {}
        definition document {
            relation viewer: user with expiration
            relation banned: user with expiration
            permission view = viewer - banned
        }
        """,
        """
        document:one#viewer@user:past[expiration:2030-01-01T11:59:59Z]
        document:one#viewer@user:now[expiration:2030-01-01T12:00:00Z]
        document:one#viewer@user:later[expiration:2030-01-01T12:00:00.000001Z]
        document:one#viewer@user:begins[valid_from:2030-01-01T12:00:00Z]
        document:one#viewer@user:soon[valid_from:2030-01-01T12:00:00.000001Z]
        document:one#viewer@user:free
        document:one#banned@user:free[expiration:2030-01-01T12:00:00Z]
        """,
        {
            "document:one#view@user:past": "lacks",
            "document:one#view@user:now": "lacks",
            "document:one#view@user:later": "has",
            "document:one#view@user:begins": "has",
            "document:one#view@user:soon": "lacks",
            "document:one#view@user:free": "has",
        },
    ),
    World(
        "positive cycles",
        """
        definition user {}
        definition group {
            relation member: user | group#member
        }
        definition folder {
            relation parent: folder
            relation viewer: user
            permission view = viewer + parent->view
            permission both = viewer & parent->both
        }
        """,
        """
        group:a#member@group:b#member
        group:b#member@group:a#member
        group:b#member@user:ann
        group:self#member@group:self#member
        folder:x#parent@folder:y
        folder:y#parent@folder:x
        folder:y#viewer@user:ann
        folder:x#viewer@user:ann
        """,
        {
            "group:a#member@user:ann": "has",
            "group:a#member@user:tom": "lacks",
            "group:a#member@group:b#member": "has",
            "group:self#member@user:ann": "lacks",
            "folder:x#view@user:ann": "has",
            "folder:x#view@user:tom": "lacks",
            # each could only have it because the other has
            "folder:x#both@user:ann": "lacks",
        },
    ),
    World(
        "negation in a cycle",
        """
        definition user {}
        definition group {
            relation member: user | group#allowed
            relation banned: user | group#allowed
            permission allowed = member - banned
        }
        """,
        """
        group:liar#member@user:ann
        group:liar#banned@group:liar#allowed
        group:liar#banned@user:tom
        group:liar#member@user:tom
        group:even#member@user:ann
        group:even#banned@group:odd#allowed
        group:odd#member@user:ann
        group:odd#banned@group:even#allowed
        group:odd#banned@user:sue
        group:even#member@user:sue
        group:odd#member@user:sue
        group:rest#member@group:liar#allowed
        group:rest#member@user:sue
        """,
        {
            "group:liar#allowed@user:ann": "paradox",
            "group:liar#allowed@user:tom": "lacks",
            "group:liar#allowed@user:sue": "lacks",
            "group:liar#member@user:ann": "has",
            "group:even#allowed@user:ann": "paradox",
            "group:odd#allowed@user:ann": "paradox",
            # decided at once, so the cycle has an end
            "group:odd#allowed@user:sue": "lacks",
            "group:even#allowed@user:sue": "has",
            "group:rest#member@user:sue": "has",
            "group:rest#member@user:ann": "paradox",
        },
    ),
    World(
        "a name for what is subtracted changes nothing",
        """
        definition user {}
        definition folder {
            relation parent: folder
            relation red: user
            relation green: user
            permission inline = red - (green - parent->inline)
            permission hole = green - parent->named
            permission named = red - hole
        }
        """,
        """
        folder:x#parent@folder:x
        folder:x#red@user:ann
        folder:x#green@user:ann
        folder:x#red@user:tom
        """,
        {
            "folder:x#inline@user:ann": "paradox",
            "folder:x#named@user:ann": "paradox",
            "folder:x#inline@user:tom": "has",
            "folder:x#named@user:tom": "has",
        },
    ),
    World(
        "conditions",
        """
        caveat aaa(one bool) { one }
        caveat bbb(two bool) { two }
        caveat ratio(whole int, part int) { whole / part == 2 }
        definition user {}
        definition team {
            relation member: user
        }
        definition document {
            relation red: user | user with aaa | user with bbb | user with ratio
            relation blue: user | user with aaa | user with bbb | user with ratio
            relation team: team with aaa | team with bbb
            permission some = red + blue
            permission every = red & blue
            permission left = red - blue
            permission walk = team->member
            permission all_of = team.all(member)
        }
        """,
        """
        document:one#red@user:ann[aaa]
        document:one#blue@user:ann[bbb]
        document:one#red@user:tom[aaa]
        document:one#blue@user:tom
        document:one#red@user:sue[aaa]
        document:one#red@user:kim[ratio:{"part": 0}]
        document:one#blue@user:kim[aaa]
        document:one#red@user:lee[ratio:{"part": 0, "whole": 4}]
        document:one#red@user:max[ratio:{"part": 0, "whole": 4}]
        document:one#blue@user:max[aaa]
        document:one#red@user:pat[ratio:{"part": 0, "whole": 4}]
        document:one#blue@user:pat
        document:one#team@team:a[aaa]
        document:one#team@team:b[bbb]
        team:a#member@user:ann
        team:b#member@user:ann
        team:a#member@user:tom
        """,
        {
            "document:one#some@user:ann": "conditional one two",
            "document:one#every@user:ann": "conditional one two",
            "document:one#left@user:ann": "conditional one two",
            'document:one#some@user:ann with {"one": true}': "has",
            'document:one#some@user:ann with {"one": false}': "conditional two",
            'document:one#left@user:ann with {"one": false}': "lacks",
            'document:one#left@user:ann with {"two": true}': "lacks",
            'document:one#left@user:ann with {"one": true}': "conditional two",
            'document:one#left@user:ann with {"one": true, "two": false}': "has",
            "document:one#some@user:tom": "has",
            "document:one#every@user:tom": "conditional one",
            # nothing about the caveat matters: tom is subtracted whatever it says
            "document:one#left@user:tom": "lacks",
            "document:one#some@user:sue": "conditional one",
            "document:one#every@user:sue": "lacks",
            "document:one#some@user:kim": "conditional one whole",
            # a failure gives way to what is missing, and to what decides without it
            "document:one#some@user:lee": "failed",
            "document:one#every@user:lee": "lacks",
            "document:one#some@user:max": "conditional one",
            'document:one#some@user:max with {"one": false}': "failed",
            "document:one#some@user:pat": "has",
            "document:one#left@user:pat": "lacks",
            "document:one#every@user:pat": "failed",
            "document:one#walk@user:ann": "conditional one two",
            'document:one#walk@user:ann with {"two": true}': "has",
            "document:one#all_of@user:ann": "conditional one two",
            'document:one#all_of@user:ann with {"two": true}': "conditional one",
            'document:one#all_of@user:ann with {"two": false}': "lacks",
            "document:one#all_of@user:tom": "lacks",
        },
    ),
    World(
        "what is stored with a relationship wins over the question",
        """
        caveat limit(maximum int, amount int) { amount <= maximum }
        definition user {}
        definition document {
            relation viewer: user with limit
            permission view = viewer
        }
        """,
        """
        document:one#viewer@user:ann[limit:{"maximum": 10}]
        document:two#viewer@user:ann[limit:{"maximum": 20}]
        """,
        {
            'document:one#view@user:ann with {"amount": 15, "maximum": 99}': "lacks",
            'document:two#view@user:ann with {"amount": 15}': "has",
            'document:one#view@user:ann with {"maximum": 99}': "conditional amount",
        },
    ),
    World(
        "conditions and paradoxes",
        """
        caveat aaa(one bool) { one }
        definition user {}
        definition group {
            relation member: user | user with aaa
            relation banned: group#allowed | group#allowed with aaa | user
            permission allowed = member - banned
        }
        """,
        """
        group:maybe#member@user:ann[aaa]
        group:maybe#banned@group:maybe#allowed
        group:cut#member@user:ann
        group:cut#banned@group:cut#allowed[aaa]
        """,
        {
            "group:maybe#allowed@user:ann": "conditional one",
            'group:maybe#allowed@user:ann with {"one": true}': "paradox",
            'group:maybe#allowed@user:ann with {"one": false}': "lacks",
            "group:cut#allowed@user:ann": "conditional one",
            'group:cut#allowed@user:ann with {"one": true}': "paradox",
            'group:cut#allowed@user:ann with {"one": false}': "has",
        },
    ),
]


@pytest.mark.parametrize(
    ("world", "question", "answer"),
    [
        pytest.param(world, question, answer, id=f"{world.title}: {question}")
        for world in WORLDS
        for question, answer in world.answers.items()
    ],
)
def test_check(world: World, question: str, answer: str) -> None:
    """Each answer was worked out by hand."""
    goal, context = notation.question_with_context(question)
    schema = compile_schema(world.schema)
    oracle = Oracle(
        schema,
        notation.relationships(world.relationships),
        instant=NOON,
        valuation=kleene.judge_by_hand(schema, context),
    )
    assert oracle.check(*goal) == notation.verdict(answer)


def test_stored_subjects_beside_a_rewrite() -> None:
    """An imported model stores and computes under one name."""
    user = Definition("user", {})
    anyone = (AllowedSubject("user"),)
    document = Definition(
        "document",
        {
            "owner": Relation("owner", This(), anyone),
            "banned": Relation("banned", This(), anyone),
            "viewer": Relation(
                "viewer", Exclusion(Union((This(), ComputedUserset("owner"))), ComputedUserset("banned")), anyone
            ),
        },
    )
    stored = """
        document:one#owner@user:ann
        document:one#viewer@user:tom
        document:one#viewer@user:sue
        document:one#banned@user:sue
    """
    oracle = Oracle(Schema({"user": user, "document": document}), notation.relationships(stored))
    answers = {
        name: oracle.check(*notation.question(f"document:one#viewer@user:{name}")) for name in ("ann", "tom", "sue")
    }
    assert answers == {"ann": HAS, "tom": HAS, "sue": LACKS}


LISTED = """
    use self
    caveat aaa(one bool) { one }
    definition user {}
    definition group {
        relation member: user | group#member
    }
    definition document {
        relation viewer: user | user with aaa | user:* | group#member
        relation banned: user | user with aaa
        permission view = viewer - banned
        permission itself = self
    }
"""


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        pytest.param(
            "document#view@user:ann",
            {"one": "has", "two": "conditional one", "all": "conditional one"},
            id="conditions",
        ),
        pytest.param("document#view@user:tom", {"all": "has"}, id="through a wildcard"),
        pytest.param("document#view@user:sue", {"all": "lacks"}, id="excluded from a wildcard"),
        pytest.param("document#view@group:eng#member", {"one": "has"}, id="a userset"),
        pytest.param("document#view@group:eng", {}, id="a group is not its members"),
        pytest.param("group#member@group:eng#member", {"eng": "has", "top": "has"}, id="a userset finds itself"),
        pytest.param("group#member@group:none#member", {"none": "has"}, id="even unheard of"),
        pytest.param("document#itself@document:none", {"none": "has"}, id="an object finds itself"),
    ],
)
def test_lookup_resources(question: str, expected: Mapping[str, str]) -> None:
    """Every resource on which the subject does not lack the permission."""
    type_, rest = question.split("#", 1)
    _, relation, subject = notation.question(f"{type_}:any#{rest}")
    found = _listed().lookup_resources(type_, relation, subject)
    assert found == {id_: answer for id_, text in expected.items() if (answer := notation.verdict(text)) != LACKS}


@pytest.mark.parametrize(
    ("relation", "type_", "subject_relation", "expected"),
    [
        pytest.param(
            "document:one#view",
            "user",
            "",
            {"ann": "has", "sue": "lacks", "*": "lacks"},
            id="through a group",
        ),
        pytest.param(
            "document:all#view",
            "user",
            "",
            {"ann": "conditional one", "sue": "lacks", "*": "has"},
            id="a wildcard",
        ),
        pytest.param(
            "document:one#view", "group", "member", {"eng": "has", "top": "has"}, id="usersets have no wildcard"
        ),
        pytest.param(
            "group:new#member", "group", "member", {"eng": "lacks", "top": "lacks", "new": "has"}, id="itself"
        ),
        pytest.param(
            "document:new#itself",
            "document",
            "",
            {"one": "lacks", "two": "lacks", "all": "lacks", "new": "has", "*": "lacks"},
            id="the object itself",
        ),
    ],
)
def test_lookup_subjects(relation: str, type_: str, subject_relation: str, expected: Mapping[str, str]) -> None:
    """A verdict for each subject named anywhere and for everybody else."""
    resource, name, _ = notation.question(f"{relation}@user:any")
    found = _listed().lookup_subjects(resource, name, type_, subject_relation)
    assert found == {id_: notation.verdict(text) for id_, text in expected.items()}


def test_somebody_else_is_somebody_else() -> None:
    """The subject that stands for everybody else is none that a relationship names."""
    stored = notation.relationships("document:one#viewer@user:nobody0\ndocument:one#viewer@user:nobody1")
    found = Oracle(compile_schema(LISTED), stored).lookup_subjects(ObjectRef("document", "one"), "view", "user")
    assert found == {"nobody0": HAS, "nobody1": HAS, "*": LACKS}


def _listed() -> Oracle:
    schema = compile_schema(LISTED)
    stored = """
        group:eng#member@user:ann
        group:top#member@group:eng#member
        document:one#viewer@group:top#member
        document:two#viewer@user:ann[aaa]
        document:all#viewer@user:*
        document:all#banned@user:sue
        document:all#banned@user:ann[aaa]
    """
    return Oracle(schema, notation.relationships(stored), valuation=kleene.judge_by_hand(schema, {}))


# The notations themselves


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("document:one#viewer@user:ann", Relationship("document", "one", "viewer", "user", "ann")),
        ("ns/doc:a/b=c#viewer@user:*", Relationship("ns/doc", "a/b=c", "viewer", "user", "*")),
        ("group:a#member@group:b#member[cav]", Relationship("group", "a", "member", "group", "b", "member", "cav")),
        (
            'group:a#member@user:b[cav:{"x": [1], "a": {"y": "]"}}][expiration:1970-01-01T00:00:01Z]',
            Relationship(
                "group", "a", "member", "user", "b", "", "cav", '{"a":{"y":"]"},"x":[1]}', Instant(1_000_000)
            ),
        ),
    ],
)
def test_relationships_are_read(text: str, expected: Relationship) -> None:
    """As the field writes them."""
    assert notation.relationship(text) == expected


@pytest.mark.parametrize(
    "text",
    ["document:one#viewer", "document#viewer@user:ann", "document:one#viewer@user:ann[", "one:#viewer@user:ann", ""],
)
def test_what_is_no_relationship_is_refused(text: str) -> None:
    """A case file with a mistake must not pass for a smaller one."""
    with pytest.raises(AssertionError):
        notation.relationship(text)


@pytest.mark.parametrize("text", ["document:one@user:ann", "document:one#view@user", "document:one#view@user:ann x"])
def test_what_is_no_question_is_refused(text: str) -> None:
    """Nor may a question be cut short."""
    with pytest.raises(AssertionError):
        notation.question(text)


@pytest.mark.parametrize(
    ("expression", "values", "expected"),
    [
        ("one && two", {}, conditional("one", "two")),
        ("one && two", {"one": False}, LACKS),
        ("one && two", {"two": True}, conditional("one")),
        ("one || two", {"two": True}, HAS),
        ("!(one || two)", {"one": False}, conditional("two")),
        ("!one", {"one": False}, HAS),
        ("1 / zero == 1", {"zero": 0}, FAILED),
        ("1 / zero == 1 || one", {"zero": 0}, conditional("one")),
        ("1 / zero == 1 || one", {"zero": 0, "one": True}, HAS),
        ("1 / zero == 1 && one", {"zero": 0, "one": False}, LACKS),
        ("zero != 0 && one", {"zero": 1, "one": True}, HAS),
        ("word in words", {"word": "a", "words": ["b"]}, LACKS),
        ("word == 'a'", {"word": "a", "other": 1}, HAS),
    ],
)
def test_caveats_by_hand(expression: str, values: Mapping[str, object], expected: Verdict) -> None:
    """Kleene's tables, with failures under what is missing."""
    names = ("one", "two", "zero", "word", "words")
    assert kleene.verdict(Caveat("cav", dict.fromkeys(names, CaveatType("any")), expression), values) == expected


def test_verdicts_are_told_apart() -> None:
    """No two of the five read alike."""
    verdicts = (HAS, LACKS, FAILED, PARADOX, conditional("one"))
    assert len({str(verdict) for verdict in verdicts}) == len(verdicts)
    assert Goal(ObjectRef("a", "b"), "c", notation.question("a:b#c@d:e").subject) == notation.question("a:b#c@d:e")

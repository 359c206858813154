"""Where implementations of this model go wrong, point by point, through the engine with its own caveats.

Each test states a rule that some engine of the field is known to break, or where two of them differ and a choice was
made. The oracle has the same rules, but these are written out so that a failure names the rule.
"""

import pytest

from pdp import names
from pdp.errors import (
    CaveatEvaluationFailed,
    NegationCycle,
    UnknownDefinition,
    UnknownRelation,
    WildcardNotAllowed,
)
from pdp.evaluate import Answer, Evaluation, Permissionship
from pdp.judge import judge_with
from pdp.program import compile_program
from schema.compile import compile_schema
from tests import notation
from tests.rationed import RationedGraph

NOON = "2030-01-01T12:00:00Z"


def answer(schema_text: str, stored: str, question: str, at: str = NOON) -> Answer:
    """The engine's answer over a graph of which nothing is loaded at first."""
    schema = compile_schema(schema_text)
    (resource, relation, subject), context = notation.question_with_context(question)
    names.check_goal(schema, resource.type, relation, subject)
    evaluation = Evaluation(
        compile_program(schema), subject, instant=notation.instant(at), judge=judge_with(schema, context)
    )
    node = evaluation.ask(resource, relation)
    graph = RationedGraph(notation.relationships(stored))
    while not evaluation.run(graph):
        graph.fetch(evaluation.needs)
    return evaluation.answer(node)


def say(schema_text: str, stored: str, question: str, at: str = NOON) -> str:
    """An answer in words."""
    try:
        found = answer(schema_text, stored, question, at)
    except CaveatEvaluationFailed:
        return "failed"
    except NegationCycle:
        return "paradox"
    match found.permissionship:
        case Permissionship.HAS_PERMISSION:
            return "has"
        case Permissionship.NO_PERMISSION:
            return "lacks"
        case Permissionship.CONDITIONAL_PERMISSION:
            return f"conditional {' '.join(found.missing)}"


WILDCARDS = """
    definition robot {}
    definition user {
        relation friend: user
    }
    definition document {
        relation viewer: user:* | user
        relation banned: user | user:*
        permission view = viewer - banned
    }
"""


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("document:one#viewer@user:ann", "has"),
        ("document:one#viewer@user:never_named", "has"),
        ("document:one#viewer@robot:ann", "lacks"),
        ("document:one#viewer@user:ann#friend", "lacks"),
        ("document:one#viewer@document:one", "lacks"),
        ("document:one#view@user:tom", "lacks"),
        ("document:one#view@user:ann", "has"),
        ("document:two#view@user:ann", "lacks"),
    ],
)
def test_a_wildcard_covers_objects_of_its_type_and_nothing_else(question: str, expected: str) -> None:
    """Not usersets, not other types; and it can be subtracted, from and of."""
    stored = """
        document:one#viewer@user:*
        document:one#banned@user:tom
        document:two#viewer@user:ann
        document:two#banned@user:*
    """
    assert say(WILDCARDS, stored, question) == expected


def test_a_wildcard_is_no_subject_to_ask_about() -> None:
    """Neither yes nor no would be right for all that it covers."""
    with pytest.raises(WildcardNotAllowed):
        answer(WILDCARDS, "document:one#viewer@user:*", "document:one#viewer@user:*")


CONDITIONS = """
    caveat aaa(one bool) { one }
    caveat bbb(two bool) { two }
    caveat both(one bool, two bool) { one && two }
    caveat some(one bool, two bool) { one || two }
    caveat quota(used int, limit int) { used < limit }
    caveat ratio(whole int, part int) { whole / part > 1 }
    definition user {}
    definition group {
        relation member: user | user with aaa | user with bbb
    }
    definition document {
        relation red: user | user with aaa | user with both | user with some | user with quota | user with ratio
        relation blue: user | user with bbb | user with ratio | user with aaa
        relation group: group | group with aaa
        permission rest = red - blue
        permission any_of = red + blue
        permission all_of = red & blue
        permission walk = group->member
        permission every = group.all(member)
    }
"""


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("{}", "conditional one two"),
        ('{"one": false}', "lacks"),
        ('{"two": true}', "lacks"),
        ('{"one": true}', "conditional two"),
        ('{"two": false}', "conditional one"),
        ('{"one": true, "two": false}', "has"),
        ('{"one": true, "two": true}', "lacks"),
    ],
)
def test_a_condition_on_what_is_subtracted_never_allows_for_want_of_it(context: str, expected: str) -> None:
    """``A - B`` is ``A`` and not ``B``, in three values."""
    stored = "document:one#red@user:ann[aaa]\ndocument:one#blue@user:ann[bbb]"
    assert say(CONDITIONS, stored, f"document:one#rest@user:ann with {context}") == expected


@pytest.mark.parametrize(
    ("permission", "context", "expected"),
    [
        ("any_of", '{"one": true}', "has"),
        ("any_of", '{"one": false}', "conditional two"),
        ("any_of", '{"one": false, "two": false}', "lacks"),
        ("all_of", '{"one": true}', "conditional two"),
        ("all_of", '{"one": false}', "lacks"),
        ("all_of", '{"one": true, "two": true}', "has"),
    ],
)
def test_what_is_decided_does_not_wait_for_what_is_not(permission: str, context: str, expected: str) -> None:
    """True or unknown is true; false and unknown is false."""
    stored = "document:one#red@user:ann[aaa]\ndocument:one#blue@user:ann[bbb]"
    assert say(CONDITIONS, stored, f"document:one#{permission}@user:ann with {context}") == expected


def test_one_conditional_path_does_not_end_the_search() -> None:
    """A later path without conditions decides, in whatever order they are met (CVE-2025-49011)."""
    stored = """
        document:one#group@group:a[aaa]
        document:one#group@group:b
        document:one#group@group:c[aaa]
        group:a#member@user:ann[bbb]
        group:b#member@user:ann
        group:c#member@user:ann[aaa]
    """
    assert say(CONDITIONS, stored, "document:one#walk@user:ann") == "has"
    assert say(CONDITIONS, stored.replace("group:b#member@user:ann\n", "\n"), "document:one#walk@user:ann") in {
        "conditional one two",
        "conditional two one",
    }


def test_one_caveat_with_two_stored_contexts_is_two_conditions() -> None:
    """What one path stores must not decide the other."""
    stored = """
        document:one#red@user:ann[quota:{"limit": 10}]
        document:two#red@user:ann[quota:{"limit": 20}]
        document:one#group@group:x
    """
    assert say(CONDITIONS, stored, 'document:one#any_of@user:ann with {"used": 15}') == "lacks"
    assert say(CONDITIONS, stored, 'document:two#any_of@user:ann with {"used": 15}') == "has"


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ('{"used": 15, "limit": 99}', "lacks"),
        ('{"used": 5, "limit": 1}', "has"),
        ('{"limit": 99}', "conditional used"),
    ],
)
def test_stored_context_wins_over_the_request(context: str, expected: str) -> None:
    """Or a caller could raise a stored limit."""
    stored = 'document:one#red@user:ann[quota:{"limit": 10}]'
    assert say(CONDITIONS, stored, f"document:one#any_of@user:ann with {context}") == expected


@pytest.mark.parametrize(
    ("caveat", "context", "expected"),
    [
        ("both", "{}", "conditional one two"),
        ("both", '{"two": true}', "conditional one"),
        ("both", '{"two": false}', "lacks"),
        ("some", '{"two": false}', "conditional one"),
        ("some", '{"two": true}', "has"),
        ("quota", "{}", "conditional used limit"),
        ("quota", '{"limit": 3}', "conditional used"),
        ("quota", '{"limit": 3, "used": 2, "stray": 1}', "has"),
    ],
)
def test_missing_names_are_those_that_still_matter(caveat: str, context: str, expected: str) -> None:
    """In order of appearance; what is unknown to the caveat is passed over."""
    stored = f"document:one#red@user:ann[{caveat}]"
    assert say(CONDITIONS, stored, f"document:one#any_of@user:ann with {context}") == expected


def test_a_missing_name_is_told_once() -> None:
    """However many paths miss it."""
    stored = """
        document:one#red@user:ann[aaa]
        document:one#blue@user:ann[aaa]
        document:one#group@group:a[aaa]
        group:a#member@user:ann[aaa]
    """
    assert say(CONDITIONS, stored, "document:one#any_of@user:ann") == "conditional one"
    assert say(CONDITIONS, stored, "document:one#every@user:ann") == "conditional one"


@pytest.mark.parametrize(
    ("permission", "user", "context", "expected"),
    [
        ("red", "ann", "{}", "failed"),
        ("any_of", "ann", "{}", "conditional one"),
        ("any_of", "ann", '{"one": true}', "has"),
        ("any_of", "ann", '{"one": false}', "failed"),
        ("all_of", "ann", '{"one": false}', "lacks"),
        ("all_of", "ann", '{"one": true}', "failed"),
        ("rest", "ann", '{"one": true}', "lacks"),
        ("rest", "ann", '{"one": false}', "failed"),
        ("any_of", "tom", "{}", "has"),
        ("rest", "tom", "{}", "lacks"),
    ],
)
def test_a_caveat_that_fails_is_an_error_only_where_the_answer_depends_on_it(
    permission: str, user: str, context: str, expected: str
) -> None:
    """And never a yes or a no; a missing parameter that may decide comes first."""
    stored = """
        document:one#red@user:ann[ratio:{"whole": 4, "part": 0}]
        document:one#blue@user:ann[aaa]
        document:one#red@user:tom[ratio:{"whole": 4, "part": 0}]
        document:one#blue@user:tom
    """
    assert say(CONDITIONS, stored, f"document:one#{permission}@user:{user} with {context}") == expected


@pytest.mark.parametrize(
    ("stored", "context", "expected"),
    [
        pytest.param("", "{}", "lacks", id="of nobody is nobody"),
        pytest.param("document:one#group@group:a", "{}", "has", id="one that grants"),
        pytest.param("document:one#group@group:a\ndocument:one#group@group:b", "{}", "lacks", id="one that does not"),
        pytest.param("document:one#group@group:a[aaa]", "{}", "conditional one", id="its own condition"),
        pytest.param("document:one#group@group:a[aaa]", '{"one": true}', "has", id="its own condition holds"),
        pytest.param(
            "document:one#group@group:a\ndocument:one#group@group:d[aaa]",
            '{"one": false}',
            "lacks",
            id="a step that fails is not left out",
        ),
        pytest.param(
            "document:one#group@group:c\ndocument:one#group@group:d[aaa]",
            "{}",
            "conditional two one",
            id="conditions of all",
        ),
    ],
)
def test_all_asks_every_subject(stored: str, context: str, expected: str) -> None:
    """And does not stop at the first that grants."""
    groups = """
        group:a#member@user:ann
        group:c#member@user:ann[bbb]
        group:d#member@user:ann
    """
    said = say(CONDITIONS, f"{stored}\n{groups}", f"document:one#every@user:ann with {context}")
    assert sorted(said.split()) == sorted(expected.split())


def test_all_over_a_type_without_the_target_is_false() -> None:
    """Where a plain arrow passes it by."""
    schema = """
        definition user {}
        definition tag {}
        definition group {
            relation member: user
        }
        definition document {
            relation group: group | tag
            permission every = group.all(member)
            permission some = group.any(member)
        }
    """
    stored = "group:a#member@user:ann\ndocument:one#group@group:a\ndocument:one#group@tag:t"
    assert say(schema, stored, "document:one#every@user:ann") == "lacks"
    assert say(schema, stored, "document:one#some@user:ann") == "has"


NESTED = """
    definition user {}
    definition group {
        relation member: user | group#member
        relation owner: user
        relation banned: user | group#allowed
        permission allowed = member - banned
        permission anyone = member + owner
        permission both = member & owner
        permission nobody = nil
    }
    definition document {
        relation viewer: user | group#member | group
        relation parent: document
        permission view = viewer + parent->view
    }
"""


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("group:a#member@user:ann", "has"),
        ("group:b#member@user:ann", "has"),
        ("group:a#member@user:tom", "lacks"),
        ("group:x#member@user:ann", "lacks"),
        ("document:d#view@user:ann", "has"),
        ("document:d#view@user:tom", "lacks"),
        ("document:x#view@user:ann", "lacks"),
    ],
)
def test_cycles_in_data_are_answered_exactly(question: str, expected: str) -> None:
    """Neither an error for who is not found, nor a depth at which it becomes one; a loop of one included."""
    stored = """
        group:a#member@group:b#member
        group:b#member@group:a#member
        group:b#member@user:ann
        group:x#member@group:x#member
        document:d#parent@document:e
        document:e#parent@document:d
        document:e#viewer@user:ann
        document:x#parent@document:x
    """
    assert say(NESTED, stored, question) == expected


def test_a_cycle_through_a_negation_is_an_error_where_it_matters() -> None:
    """And nowhere else: one engine of the field says no, also inside an exclusion."""
    stored = """
        group:a#member@user:ann
        group:a#banned@group:a#allowed
        group:a#member@user:tom
        group:a#banned@user:tom
    """
    assert say(NESTED, stored, "group:a#allowed@user:ann") == "paradox"
    assert say(NESTED, stored, "group:a#allowed@user:tom") == "lacks"
    assert say(NESTED, stored, "group:a#anyone@user:ann") == "has"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("group:a#member@group:a#member", "has"),
        ("group:never_named#member@group:never_named#member", "has"),
        ("group:a#nobody@group:a#nobody", "has"),
        ("group:a#anyone@group:a#member", "has"),
        ("group:a#both@group:a#member", "lacks"),
        ("group:a#allowed@group:a#member", "has"),
        ("group:a#member@group:b#member", "lacks"),
        ("group:a#member@group:a#anyone", "lacks"),
        ("document:d#view@group:a#member", "has"),
        ("document:e#view@document:d#viewer", "has"),
    ],
)
def test_a_userset_is_a_member_of_itself(question: str, expected: str) -> None:
    """Without any data, through unions and at the end of arrows."""
    stored = "document:d#viewer@group:a#member\ndocument:e#parent@document:d"
    assert say(NESTED, stored, question) == expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("document:d#view@group:a#member", "has"),
        ("document:d#view@group:a", "lacks"),
        ("document:e#view@group:a", "has"),
        ("document:e#view@group:a#member", "lacks"),
        ("document:f#view@group:a#member", "lacks"),
        ("document:d#view@user:ann", "has"),
        ("document:e#view@user:ann", "lacks"),
    ],
)
def test_a_userset_an_object_and_their_members_are_different_subjects(question: str, expected: str) -> None:
    """A set is found where it was given, not where a member of it was."""
    stored = """
        group:a#member@user:ann
        document:d#viewer@group:a#member
        document:e#viewer@group:a
        document:f#viewer@user:ann
    """
    assert say(NESTED, stored, question) == expected


ARROWS = """
    definition user {}
    definition tag {}
    definition folder {
        relation viewer: user | user:*
        relation member: user
    }
    definition document {
        relation parent: folder | folder#member | tag
        permission view = parent->viewer
        permission stray = parent->nothing_has_it
    }
"""


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        pytest.param("document:plain#view@user:ann", "has", id="to the object"),
        pytest.param("document:set#view@user:ann", "has", id="the subject relation is passed over"),
        pytest.param("document:set#view@user:tom", "lacks", id="and its members gain nothing"),
        pytest.param("document:tagged#view@user:ann", "lacks", id="a type without the target is skipped"),
        pytest.param("document:open#view@user:tom", "has", id="a wildcard at the end counts"),
        pytest.param("document:plain#stray@user:ann", "lacks", id="a target that no type has"),
        pytest.param("document:plain#view@folder:a", "lacks", id="the object walked through is not found"),
    ],
)
def test_arrows(question: str, expected: str) -> None:
    """From an object to the objects that its relation names."""
    stored = """
        folder:a#viewer@user:ann
        folder:a#member@user:tom
        folder:open#viewer@user:*
        document:plain#parent@folder:a
        document:set#parent@folder:a#member
        document:tagged#parent@tag:t
        document:open#parent@folder:open
    """
    assert say(ARROWS, stored, question) == expected


TIMES = """
    use expiration
    caveat aaa(one bool) { one }
    definition user {}
    definition group {
        relation member: user | user with expiration
    }
    definition document {
        relation viewer: user | user with expiration | group#member with expiration | user with aaa and expiration
        relation banned: user with expiration
        permission view = viewer - banned
    }
"""


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2029-12-31T23:59:59.999999Z", "lacks"),
        ("2030-01-01T00:00:00Z", "has"),
        ("2030-01-01T23:59:59.999999Z", "has"),
        ("2030-01-02T00:00:00Z", "lacks"),
    ],
)
def test_a_relationship_counts_from_its_beginning_until_before_its_expiry(at: str, expected: str) -> None:
    """To the microsecond."""
    stored = "document:one#viewer@user:ann[expiration:2030-01-02T00:00:00Z][valid_from:2030-01-01T00:00:00Z]"
    assert say(TIMES, stored, "document:one#view@user:ann", at) == expected


@pytest.mark.parametrize(
    ("user", "at", "expected"),
    [
        pytest.param("ann", NOON, None, id="no times at all"),
        pytest.param("tom", NOON, "2030-01-01T13:00:00Z", id="until it expires"),
        pytest.param("sue", NOON, "2030-01-01T13:00:00Z", id="until the ban ends"),
        pytest.param("kim", NOON, "2030-01-01T13:00:00Z", id="until it begins"),
        pytest.param("lee", NOON, "2030-01-01T13:00:00Z", id="the earliest on the way"),
        pytest.param("tom", "2030-01-01T14:00:00Z", None, id="nothing left that could change"),
    ],
)
def test_an_answer_says_how_long_it_holds(user: str, at: str, expected: str | None) -> None:
    """So that no cache keeps a yes after its expiry, nor a no after a beginning."""
    stored = """
        document:one#viewer@user:ann
        document:one#viewer@user:tom[expiration:2030-01-01T13:00:00Z]
        document:one#viewer@user:sue
        document:one#banned@user:sue[expiration:2030-01-01T13:00:00Z]
        document:one#viewer@user:kim[valid_from:2030-01-01T13:00:00Z]
        document:two#viewer@group:g#member[expiration:2030-01-01T14:00:00Z]
        group:g#member@user:lee[expiration:2030-01-01T13:00:00Z]
    """
    document = "two" if user == "lee" else "one"
    found = answer(TIMES, stored, f"document:{document}#view@user:{user}", at)
    assert found.stable_until == (notation.instant(expected) if expected else None)


def test_an_expired_condition_is_not_asked_for() -> None:
    """What does not count has no missing names."""
    stored = "document:one#viewer@user:ann[aaa][expiration:2030-01-01T11:00:00Z]"
    assert say(TIMES, stored, "document:one#view@user:ann") == "lacks"


@pytest.mark.parametrize(
    ("question", "error", "message"),
    [
        ("docment:one#view@user:ann", UnknownDefinition, "docment"),
        ("document:one#veiw@user:ann", UnknownRelation, "veiw"),
        ("document:one#view@usr:ann", UnknownDefinition, "usr"),
        ("document:one#view@group:a#membr", UnknownRelation, "membr"),
        ("group:a#nothing@group:a#nothing", UnknownRelation, "nothing"),
    ],
)
def test_unknown_names_are_errors_and_unknown_ids_are_not(
    question: str, error: type[Exception], message: str
) -> None:
    """Also where identity would have said yes."""
    with pytest.raises(error, match=message):
        answer(NESTED, "", question)
    assert say(NESTED, "", "document:never_named#view@user:never_named") == "lacks"

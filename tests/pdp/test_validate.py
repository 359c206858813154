"""Updates and filters held against a schema: each reason for refusal, with its facts and its message."""

from datetime import UTC, datetime

import pytest

from pdp.errors import (
    CannotUpdatePermission,
    CaveatParameterInvalid,
    DuplicateUpdate,
    InvalidFilter,
    InvalidSubjectType,
    NothingStored,
    PdpError,
    UnknownDefinition,
    UnknownRelation,
)
from pdp.relationships import RelationshipFilter, Update
from pdp.validate import RESOURCE_IDS_MAX, check_contextual, check_filter, check_updates, spell
from schema.compile import compile_schema
from schema.model import AllowedSubject
from tests.pdp.store_words import create, delete, many, matching, touch

SCHEMA = compile_schema(
    """
    use expiration

    definition user {}

    definition group {
        relation member: user | group#member
        relation owner: user
    }

    caveat office(floor int) { floor == 3 }

    definition doc {
        relation viewer: user | user:* | group#member
        relation guest: user with office | user with expiration | user with office and expiration
        relation parent: doc
        permission view = viewer + guest
    }
    """
)
LATER = "[expiration:2090-01-01T00:00:00Z]"


@pytest.mark.parametrize(
    "text",
    [
        "doc:1#viewer@user:ann",
        "doc:1#viewer@user:*",
        "doc:1#viewer@group:g#member",
        "doc:1#guest@user:ann[office]",
        'doc:1#guest@user:ann[office:{"floor":3}]',
        f"doc:1#guest@user:ann{LATER}",
        f"doc:1#guest@user:ann[office]{LATER}",
        "doc:1#viewer@user:ann[valid_from:2090-01-01T00:00:00Z]",
        "doc:1#parent@doc:1",
    ],
)
def test_what_the_schema_allows(text: str) -> None:
    """In updates and beside a question."""
    check_updates(SCHEMA, create(text))
    check_contextual(SCHEMA, many(text))


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        pytest.param(
            "dok:1#viewer@user:ann", UnknownDefinition, "no definition `dok`; did you mean `doc`?", id="type"
        ),
        pytest.param("zebra:1#viewer@user:ann", UnknownDefinition, "no definition `zebra`", id="nothing near"),
        pytest.param(
            "doc:1#veiwer@user:ann",
            UnknownRelation,
            "no relation or permission `veiwer` on `doc`; did you mean `viewer`?",
            id="relation",
        ),
        pytest.param(
            "doc:1#viewer@usr:ann", UnknownDefinition, "no definition `usr`; did you mean `user`?", id="subject"
        ),
        pytest.param("doc:1#viewer@group:g#membre", UnknownRelation, "did you mean `member`?", id="subject relation"),
        pytest.param(
            "doc:1#view@user:ann",
            CannotUpdatePermission,
            "cannot write a relationship to permission `doc#view`",
            id="permission",
        ),
        pytest.param(
            "doc:1#viewer@group:g",
            InvalidSubjectType,
            "subjects of type `group` are not allowed on relation `doc#viewer`; did you mean `group#member`?",
            id="without its relation",
        ),
        pytest.param("doc:1#viewer@group:g#owner", InvalidSubjectType, "`group#owner`", id="another relation"),
        pytest.param("doc:1#viewer@doc:1", InvalidSubjectType, "`doc`", id="another type"),
        pytest.param("doc:1#parent@user:*", InvalidSubjectType, "`user:*`", id="no wildcard"),
        pytest.param("group:g#member@user:*", InvalidSubjectType, "did you mean `user`?", id="wildcard for one"),
        pytest.param("doc:1#guest@user:ann", InvalidSubjectType, "`user` are", id="without its caveat"),
        pytest.param("doc:1#viewer@user:ann[office]", InvalidSubjectType, "`user with office`", id="with a caveat"),
        pytest.param("doc:1#viewer@user:ann[night]", InvalidSubjectType, "`user with night`", id="unknown caveat"),
        pytest.param(f"doc:1#viewer@user:ann{LATER}", InvalidSubjectType, "`user with expiration`", id="expiration"),
        pytest.param(
            f"doc:1#viewer@user:*[office]{LATER}",
            InvalidSubjectType,
            "`user:* with office and expiration`",
            id="everything at once",
        ),
        pytest.param(
            'doc:1#guest@user:ann[office:{"floor":"x"}]', CaveatParameterInvalid, "`floor`", id="wrong value"
        ),
        pytest.param(
            'doc:1#guest@user:ann[office:{"roof":1}]', CaveatParameterInvalid, "`roof`", id="unknown parameter"
        ),
    ],
)
def test_what_it_does_not(text: str, error: type[PdpError], says: str) -> None:
    """The message names what was written and what is near."""
    with pytest.raises(error) as refused:
        check_updates(SCHEMA, touch(text))
    assert says in str(refused.value)
    with pytest.raises(error):
        check_contextual(SCHEMA, many(text))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param("doc:1#guest@user:ann", None, id="its caveat does not matter"),
        pytest.param("doc:1#viewer@user:ann[night]", None, id="nor an unknown one"),
        pytest.param(f"doc:1#viewer@user:ann{LATER}", None, id="nor a time"),
        pytest.param("doc:1#view@user:ann", CannotUpdatePermission, id="a permission does"),
        pytest.param("doc:1#viewer@group:g", InvalidSubjectType, id="and the subject's type"),
        pytest.param("doc:1#none@user:ann", UnknownRelation, id="and the relation"),
    ],
)
def test_a_deletion_names_what_could_be_stored(text: str, error: type[PdpError] | None) -> None:
    """Whatever its traits."""
    if error is None:
        check_updates(SCHEMA, delete(text))
        return
    with pytest.raises(error):
        check_updates(SCHEMA, delete(text))


@pytest.mark.parametrize(
    "other",
    [
        touch("doc:1#viewer@user:ann"),
        delete("doc:1#viewer@user:ann"),
        touch("doc:1#viewer@user:ann[valid_from:2090-01-01T00:00:00Z]"),
    ],
)
def test_a_relationship_twice(other: list[Update]) -> None:
    """Whatever is done with it."""
    with pytest.raises(DuplicateUpdate, match="`doc:1#viewer@user:ann`"):
        check_updates(SCHEMA, [*create("doc:1#viewer@user:ann"), *other])


@pytest.mark.parametrize(
    "filter_",
    [
        matching("doc"),
        matching("doc:1"),
        matching("doc:1", "viewer"),
        matching("doc", "view"),
        matching("", "viewer"),
        matching("", None, "user"),
        matching("doc", "viewer", "group:g#member"),
        matching("doc", "viewer", "group:g#"),
        RelationshipFilter("doc", tuple(map(str, range(RESOURCE_IDS_MAX)))),
        RelationshipFilter("doc", (), "1"),
    ],
    ids=str,
)
def test_filters_that_ask_for_something(filter_: RelationshipFilter) -> None:
    """Names that are there."""
    check_filter(SCHEMA, filter_)


@pytest.mark.parametrize(
    ("filter_", "error"),
    [
        pytest.param(matching("dok"), UnknownDefinition, id="type"),
        pytest.param(matching("doc", "none"), UnknownRelation, id="relation"),
        pytest.param(matching("", None, "usr"), UnknownDefinition, id="subject type"),
        pytest.param(matching("doc", "viewer", "group:g#none"), UnknownRelation, id="subject relation"),
        pytest.param(
            RelationshipFilter("doc", tuple(map(str, range(RESOURCE_IDS_MAX + 1)))), InvalidFilter, id="too many ids"
        ),
        pytest.param(RelationshipFilter("doc", ("1",), "1"), InvalidFilter, id="ids and a prefix"),
    ],
)
def test_filters_that_do_not(filter_: RelationshipFilter, error: type[PdpError]) -> None:
    """Each names what is wrong."""
    with pytest.raises(error):
        check_filter(SCHEMA, filter_)


def test_a_permission_has_nothing_stored() -> None:
    """Where that is asked."""
    with pytest.raises(NothingStored, match="`view` of `doc`"):
        check_filter(SCHEMA, matching("doc", "view"), stored=True)
    check_filter(SCHEMA, matching("doc", "viewer"), stored=True)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (AllowedSubject("user"), "user"),
        (AllowedSubject("user", wildcard=True), "user:*"),
        (AllowedSubject("group", "member"), "group#member"),
        (AllowedSubject("user", caveat="c"), "user with c"),
        (AllowedSubject("user", expiration=True), "user with expiration"),
        (AllowedSubject("user", wildcard=True, caveat="c", expiration=True), "user:* with c and expiration"),
    ],
)
def test_subject_types_are_spelled_as_the_language_does(entry: AllowedSubject, text: str) -> None:
    """So that a message can be pasted into a schema."""
    assert spell(entry) == text


def test_many_updates_are_checked_quickly() -> None:
    """A thousand in well under a tenth of a second."""
    updates = create(*(f"doc:{n}#viewer@user:ann" for n in range(1_000)))
    started = datetime.now(UTC)
    check_updates(SCHEMA, updates)
    assert (datetime.now(UTC) - started).total_seconds() < 0.5

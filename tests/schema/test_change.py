"""A schema becomes another: how they differ, what must be unused, which answers change, and renames."""

import pytest

from schema.check import RelationName
from schema.compile import compile_schema, read_schema
from schema.diff import DifferenceKind, diff_schemas
from schema.plan import changed_meanings
from schema.printing import print_schema
from schema.rename import CannotRename, rename_definition, rename_relation
from schema.safety import MustBeUnused, check_change

BASE = """
caveat ccc(x int, y list<string>) { x == 1 && y == [] }
definition user {}
definition group { relation member: user; }
definition doc {
	relation parent: doc
	relation viewer: user | user:* | group#member | user with ccc
	permission view = viewer + parent->view
	permission edit = view
}
"""


def differences(old: str, new: str) -> list[str]:
    """Differences as text."""
    return [str(one) for one in diff_schemas(read_schema(old), read_schema(new))]


DIFFERENCES = [
    ("", "definition user {}", ["definition_added user"]),
    ("definition user {}", "", ["definition_removed user"]),
    ("definition user {}", "// a\ndefinition user {}", ["definition_doc_comment_changed user"]),
    ("definition doc {}", "definition doc { relation aaa: doc; }", ["relation_added doc#aaa"]),
    ("definition doc { relation aaa: doc; }", "definition doc {}", ["relation_removed doc#aaa"]),
    (
        "definition doc { relation aaa: doc; }",
        "definition doc { /* a */ relation aaa: doc; }",
        ["relation_doc_comment_changed doc#aaa"],
    ),
    (
        "definition doc { relation aaa: doc; }",
        "definition doc { relation aaa: doc | doc:*; }",
        ["relation_subject_type_added doc#aaa"],
    ),
    (
        "definition doc { relation aaa: doc | doc:*; }",
        "definition doc { relation aaa: doc; }",
        ["relation_subject_type_removed doc#aaa"],
    ),
    ("definition doc {}", "definition doc { permission ppp = nil; }", ["permission_added doc#ppp"]),
    ("definition doc { permission ppp = nil; }", "definition doc {}", ["permission_removed doc#ppp"]),
    (
        "definition doc { permission ppp = nil; }",
        "definition doc { // a\n permission ppp = nil; }",
        ["permission_doc_comment_changed doc#ppp"],
    ),
    (
        "definition doc { permission ppp = aaa + bbb; }",
        "definition doc { permission ppp = bbb + aaa; }",
        ["permission_expr_changed doc#ppp"],
    ),
    (
        "definition doc { permission ppp = aaa->bbb; }",
        "definition doc { permission ppp = aaa.any(bbb); }",
        ["permission_expr_changed doc#ppp"],
    ),
    ("definition doc { permission ppp = aaa + bbb; }", "definition doc { permission ppp = ((aaa) + bbb); }", []),
    ("", "caveat ccc(x int) { x == 1 }", ["caveat_added ccc"]),
    ("caveat ccc(x int) { x == 1 }", "", ["caveat_removed ccc"]),
    ("caveat ccc(x int) { x == 1 }", "// a\ncaveat ccc(x int) { x == 1 }", ["caveat_doc_comment_changed ccc"]),
    ("caveat ccc(x int) { x == 1 }", "caveat ccc(x int) { x  ==  1 }", ["caveat_expr_changed ccc"]),
    (
        "caveat ccc(x int) { x == 1 }",
        "caveat ccc(x int, y int) { x == 1 }",
        ["caveat_parameter_added ccc.y"],
    ),
    (
        "caveat ccc(x int, y int) { x == 1 }",
        "caveat ccc(x int) { x == 1 }",
        ["caveat_parameter_removed ccc.y"],
    ),
    (
        "caveat ccc(x int) { x == 1 }",
        "caveat ccc(x uint) { x == 1 }",
        ["caveat_parameter_type_changed ccc.x"],
    ),
    (
        "definition doc { relation aaa: doc; }",
        "definition doc { permission aaa = nil; }",
        ["relation_removed doc#aaa", "permission_added doc#aaa"],
    ),
    (BASE, BASE, []),
    (BASE, print_schema(compile_schema(BASE)), []),
]


@pytest.mark.parametrize(("old", "new", "expected"), DIFFERENCES)
def test_differences(old: str, new: str, expected: list[str]) -> None:
    """Part by part; what a compared schema means is not checked."""
    assert differences(old, new) == expected


def test_every_kind_of_difference_is_met() -> None:
    """The table above leaves none of the nineteen out."""
    assert len(DifferenceKind) == 19
    met = {difference.split(" ")[0] for _, _, differences in DIFFERENCES for difference in differences}
    assert met == {kind.value for kind in DifferenceKind}


def test_a_difference_shows_the_part_as_it_is_in_the_second() -> None:
    """And as it was in the first where it is gone."""
    old = read_schema("caveat ccc(x int) { x == 1 } definition doc { relation aaa: doc; }")
    new = read_schema("caveat ccc(x uint) { x == 1 } definition doc { relation aaa: user; }")
    added, removed, retyped = diff_schemas(old, new)
    assert added.subject is not None
    assert removed.subject is not None
    assert (added.subject.type, removed.subject.type) == ("user", "doc")
    assert added.relation == removed.relation == new.definitions["doc"].relations["aaa"]
    assert (str(retyped.parameter_type), str(retyped.previous_type)) == ("uint", "int")


# What must be unused


def unused(new: str, old: str = BASE) -> list[MustBeUnused]:
    """What a change needs to be unused; nothing in it is refused outright."""
    found = check_change(compile_schema(old), compile_schema(new))
    assert found.refused == ()
    return list(found.unused)


def test_no_change_needs_nothing() -> None:
    """A write that changes nothing is accepted, whatever is stored."""
    assert unused(BASE) == []


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(BASE + "definition other {}", id="a definition more"),
        pytest.param(BASE.replace("relation parent: doc", "relation parent: doc | user"), id="a type more"),
        pytest.param(
            BASE.replace("relation parent: doc", "relation parent: doc; relation more: doc"), id="a relation"
        ),
        pytest.param(BASE.replace("permission edit = view", ""), id="a permission less"),
        pytest.param(
            BASE.replace("permission edit = view", "relation edit: doc"), id="a permission becomes a relation"
        ),
        pytest.param(BASE.replace("= viewer + parent->view", "= nil"), id="another expression"),
        pytest.param(BASE.replace("(x int,", "(z int, x int,").replace("x == 1", "x == z"), id="a parameter more"),
        pytest.param(BASE.replace("x == 1 &&", "x == 2 &&"), id="another condition"),
        pytest.param("// comment\n" + BASE, id="a comment"),
    ],
)
def test_changes_that_orphan_nothing(new: str) -> None:
    """They need nothing to be unused."""
    assert unused(new) == []


def test_deleting_a_definition() -> None:
    """Nothing may exist under it; what names it as a subject goes with the types that allowed it."""
    new = "definition user {} definition doc { relation parent: doc; relation viewer: user | user:*; }"
    found = unused(new, BASE.replace(" | user with ccc", ""))
    assert [one.operation for one in found] == ["delete_object_definition", "remove_allowed_type"]
    assert found[0].resource_type == "group"
    assert found[0].message == (
        "cannot delete object definition `group`, as at least one relationship exists under it"
    )
    userset = found[1]
    assert (userset.resource_type, userset.relation) == ("doc", "viewer")
    assert (userset.subject_type, userset.subject_relation) == ("group", "member")
    assert userset.names["allowed_type"] == "group#member"


@pytest.mark.parametrize("instead", ["", "permission member = nil;"])
def test_deleting_a_relation(instead: str) -> None:
    """It must be unused on both sides, also where it becomes a permission."""
    old = "definition user {} definition group { relation member: user; relation owner: group#member; }"
    new = f"definition user {{}} definition group {{ {instead} relation owner: group; }}"
    forward, reverse, dropped = unused(new, old)
    assert (forward.operation, forward.resource_type, forward.relation) == ("delete_relation", "group", "member")
    assert (reverse.operation, reverse.subject_type, reverse.subject_relation) == (
        "delete_relation_reverse_check",
        "group",
        "member",
    )
    assert reverse.resource_type is None
    assert "references it as part of a subject" in reverse.message
    assert dropped.operation == "remove_allowed_type"


@pytest.mark.parametrize(
    ("dropped", "expected"),
    [
        ("user", ("user", "", None, "", False)),
        ("user:*", ("user", "", True, "", False)),
        ("group#member", ("group", "member", None, "", False)),
        ("user with ccc", ("user", "", None, "ccc", False)),
        ("user with expiration", ("user", "", None, "", True)),
        ("user with ccc and expiration", ("user", "", None, "ccc", True)),
    ],
)
def test_dropping_a_type(dropped: str, expected: tuple[str, str, bool | None, str, bool]) -> None:
    """Each variant apart; a plain type may not go while its wildcard is stored either."""
    prelude = (
        "use expiration caveat ccc(x int) { x == 1 } definition user {} definition group { relation member: user; }"
    )
    (found,) = unused(
        f"{prelude} definition doc {{ relation aaa: doc; }}",
        f"{prelude} definition doc {{ relation aaa: doc | {dropped}; }}",
    )
    assert found.operation == "remove_allowed_type"
    assert (found.resource_type, found.relation) == ("doc", "aaa")
    assert (
        found.subject_type,
        found.subject_relation,
        found.wildcard,
        found.caveat_name,
        found.expiration,
    ) == expected
    assert found.message == (
        f"cannot remove allowed type `{dropped}` from relation `aaa` in object definition `doc`, "
        "as a relationship exists with it"
    )


def test_dropping_a_caveat_with_what_names_it() -> None:
    """That is a matter of the types that name it."""
    new = BASE.replace(" | user with ccc", "").replace("caveat ccc(x int, y list<string>) { x == 1 && y == [] }", "")
    (found,) = unused(new)
    assert (found.operation, found.caveat_name) == ("remove_allowed_type", "ccc")


@pytest.mark.parametrize(
    ("new", "operation", "parameter"),
    [
        ("caveat ccc(x int) { x == 1 }", "remove_parameter", "y"),
        ("caveat ccc(x uint, y list<string>) { x == 1 && y == [] }", "change_parameter_type", "x"),
        ("caveat ccc(x int, y list<int>) { x == 1 && y == [] }", "change_parameter_type", "y"),
        ("caveat ccc(z int, y list<string>) { z == 1 && y == [] }", "remove_parameter", "x"),
    ],
)
def test_parameters_may_neither_go_nor_change(new: str, operation: str, parameter: str) -> None:
    """Even where no relation names the caveat."""
    old = "caveat ccc(x int, y list<string>) { x == 1 && y == [] }"
    found = check_change(compile_schema(old), compile_schema(new))
    (refused,) = found.refused
    assert refused.wire_metadata == {"caveat_name": "ccc", "parameter_name": parameter, "operation": operation}
    assert f"parameter `{parameter}` on caveat `ccc`" in refused.wire_message
    assert found.unused == ()


def test_clearing_a_schema() -> None:
    """Every definition must be empty."""
    assert [one.operation for one in unused("")] == ["delete_object_definition"] * 3


# Which answers change


def meanings(old: str, new: str) -> dict[str, tuple[str, list[str]]]:
    """What changes its meaning, how, and because of what."""
    return {
        str(change.name): (change.effect, [str(cause) for cause in change.causes])
        for change in changed_meanings(compile_schema(old), compile_schema(new))
    }


def changed(text: str, replacement: str) -> dict[str, tuple[str, list[str]]]:
    """What changes when a part of the schema above does."""
    assert text in BASE
    return meanings(BASE, BASE.replace(text, replacement))


@pytest.mark.parametrize(
    ("text", "replacement"),
    [
        ("viewer + parent->view", "parent->view + viewer"),
        ("viewer + parent->view", "parent.any(view) + (viewer) + viewer"),
        ("user | user:*", "user:* | user"),
        ("definition user {}", "// who\ndefinition user {}"),
    ],
)
def test_what_changes_no_meaning(text: str, replacement: str) -> None:
    """Order, repetition, spelling, comments."""
    assert changed(text, replacement) == {}


def test_a_meaning_changes_with_all_that_it_is_computed_from() -> None:
    """Through arrows, usersets and permissions."""
    assert changed(
        "relation member: user;",
        "relation member: user | user:*; permission x12 = nil;".replace(" | user:*", " | group"),
    ) == {
        "doc#edit": ("changed", ["group#member"]),
        "doc#view": ("changed", ["group#member"]),
        "doc#viewer": ("changed", ["group#member"]),
        "group#member": ("changed", ["group#member"]),
        "group#x12": ("added", []),
    }


def test_a_caveat_changes_what_it_guards() -> None:
    """Its condition is part of the relation's meaning."""
    assert set(changed("x == 1 &&", "x == 2 &&")) == {"doc#viewer", "doc#view", "doc#edit"}


def test_what_is_gone_or_new() -> None:
    """And what was computed from it."""
    found = changed("permission edit = view", "permission edit = view\n\tpermission admin = edit - viewer")
    assert found == {"doc#admin": ("added", [])}
    found = meanings(BASE.replace("edit = view", "edit = view + old_one; relation old_one: user"), BASE)
    assert found == {"doc#edit": ("changed", ["doc#edit", "doc#old_one"]), "doc#old_one": ("removed", [])}


def test_any_is_not_all() -> None:
    """Quantifiers are meaning."""
    assert "doc#view" in changed("parent->view", "parent.all(view)")


# Renames


def renamed_relation(definition: str, old: str, new: str, text: str = BASE) -> str:
    """The schema's text after a rename."""
    return print_schema(rename_relation(compile_schema(text), definition, old, new))


def test_renaming_a_relation() -> None:
    """Everywhere that it is named, and nowhere else."""
    after = renamed_relation("group", "member", "fellow")
    assert "relation fellow: user" in after
    assert "group#fellow" in after
    assert "member" not in after
    compile_schema(after)


def test_renaming_a_permission_that_arrows_reach() -> None:
    """The arrow's right side and the permission itself."""
    after = renamed_relation("doc", "view", "see")
    assert "permission see = viewer + parent->see" in after
    assert "permission edit = see" in after


def test_renaming_what_an_arrow_starts_from() -> None:
    """Its left side."""
    assert "parent" not in renamed_relation("doc", "parent", "folder")


def test_a_relation_of_the_same_name_elsewhere_is_another() -> None:
    """Only the one definition's is renamed."""
    text = (
        "definition aaa { relation xxx: aaa; permission ppp = xxx; }"
        "definition bbb { relation xxx: aaa#xxx; permission ppp = xxx; }"
    )
    after = renamed_relation("aaa", "xxx", "yyy", text)
    assert after == print_schema(
        compile_schema(
            "definition aaa { relation yyy: aaa; permission ppp = yyy; } "
            "definition bbb { relation xxx: aaa#yyy; permission ppp = xxx; }"
        )
    )


def test_renaming_a_definition() -> None:
    """With its types, and what annotations name."""
    text = (
        "use typechecking definition user {}"
        "definition doc { relation aaa: user | user:*; permission ppp: user = aaa; }"
    )
    schema = rename_definition(compile_schema(text), "user", "tenant/person")
    after = print_schema(schema)
    assert "definition tenant/person {}" in after
    assert "relation aaa: tenant/person | tenant/person:*" in after
    assert "user" not in after
    assert schema.definitions["doc"].relations["ppp"].annotation == ("tenant/person",)
    compile_schema(after)


def test_renaming_and_back_changes_nothing() -> None:
    """Two renames cancel."""
    schema = compile_schema(BASE)
    there = rename_relation(schema, "group", "member", "fellow")
    assert rename_relation(there, "group", "fellow", "member") == schema
    there = rename_definition(schema, "group", "team")
    assert rename_definition(there, "team", "group") == schema


@pytest.mark.parametrize(
    ("definition", "old", "new", "reason"),
    [
        ("nothing", "member", "fellow", "no definition `nothing`"),
        ("grup", "member", "fellow", "did you mean `group`?"),
        ("group", "nothing", "fellow", "no relation or permission `nothing` on `group`"),
        ("doc", "viewer", "parent", "already a relation or permission"),
        ("doc", "viewer", "view", "already a relation or permission"),
        ("doc", "viewer", "v", "cannot name a relation"),
        ("doc", "view", "View", "cannot name a permission"),
    ],
)
def test_renames_of_relations_that_are_refused(definition: str, old: str, new: str, reason: str) -> None:
    """With the reason."""
    with pytest.raises(CannotRename, match=reason.replace("?", r"\?")):
        rename_relation(compile_schema(BASE), definition, old, new)


def test_an_arrow_that_reaches_two_definitions_cannot_follow_one() -> None:
    """Or the other would be lost."""
    text = (
        "definition aaa { relation xxx: aaa; } definition bbb { relation xxx: bbb; }"
        "definition ccc { relation both: aaa | bbb; permission ppp = both->xxx; }"
    )
    with pytest.raises(CannotRename, match="also reaches `bbb`"):
        rename_relation(compile_schema(text), "aaa", "xxx", "yyy")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("nothing", "other", "no definition `nothing`"),
        ("group", "doc", "already the name"),
        ("group", "ccc", "already the name"),
        ("group", "G", "cannot name a definition"),
    ],
)
def test_renames_of_definitions_that_are_refused(old: str, new: str, reason: str) -> None:
    """With the reason."""
    with pytest.raises(CannotRename, match=reason):
        rename_definition(compile_schema(BASE), old, new)


def test_names_are_by_definition() -> None:
    """`RelationName` reads as the wire's."""
    assert str(RelationName("doc", "view")) == "doc#view"

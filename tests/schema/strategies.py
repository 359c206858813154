"""Hypothesis strategies for texts and values of the language: whole schemas, and the same text laid out anyhow."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from schema.check import rewrite_depth
from schema.errors import Source
from schema.model import (
    AllowedSubject,
    Caveat,
    CaveatType,
    ComputedUserset,
    Definition,
    Exclusion,
    Intersection,
    Nil,
    Relation,
    Rewrite,
    Schema,
    SelfSubject,
    This,
    TupleToUserset,
    Union,
)
from schema.tokens import CEL, END, ENDED_BY_NEWLINE, FINISH, scan

_TYPES = ("user", "group", "tenant/folder", "aaa/bbb/doc", "use", "a_1")
_RELATIONS = ("member", "owner", "any", "all", "partial", "import", "parent")
_PERMISSIONS = ("view", "edit_2", "use", "definition_1")
_EXPRESSIONS = {
    "at_work": ({"day": CaveatType("string")}, 'day != "sunday"'),
    "Quota": ({"used": CaveatType("int"), "limit": CaveatType("uint")}, "used < // as bought\n\t\tlimit"),
    "net/known": (
        {"at": CaveatType("ipaddress"), "nets": CaveatType("list", (CaveatType("string"),))},
        "nets.exists(n, at.in_cidr(n))",
    ),
    "m": ({"m": CaveatType("map", (CaveatType("list", (CaveatType("any"),)),))}, "{'}': m}['}'].size() == 1"),
}
COMMENTS = (
    "",
    "",
    "",
    "// one",
    "/* two */",
    "/** three */",
    "// four\n/* five */",
    "/**\n * six\n * seven\n */",
    "//",
)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """Valid schemas of everything that can be printed, in canonical comments."""
    comments = st.sampled_from(COMMENTS)
    types = draw(st.lists(st.sampled_from(_TYPES), min_size=1, max_size=4, unique=True))
    caveats = {
        name: Caveat(name, *_EXPRESSIONS[name], draw(comments))
        for name in draw(st.lists(st.sampled_from(sorted(_EXPRESSIONS)), unique=True))
    }
    relations = {type_: draw(st.lists(st.sampled_from(_RELATIONS), max_size=4, unique=True)) for type_ in types}
    definitions = {}
    for type_ in types:
        members: dict[str, Relation] = {}
        for name in relations[type_]:
            allowed = draw(_allowed(type_, types, relations, sorted(caveats)))
            members[name] = Relation(name, This(), allowed, draw(comments))
        # an arrow follows no wildcard, be it at whatever remove
        tuplesets = [
            name for name, one in members.items() if not any(each.wildcard or each.relation for each in one.allowed)
        ]
        for name in draw(st.lists(st.sampled_from(_PERMISSIONS), max_size=3, unique=True)):
            if name in members:
                continue
            rewrite = draw(_rewrites(sorted(relations[type_]), tuplesets))
            sayable = not any("/" in each for each in types)
            annotation = tuple(sorted(types)) if sayable and draw(st.booleans()) else ()
            members[name] = Relation(name, rewrite, (), draw(comments), annotation)
        definitions[type_] = Definition(type_, members, draw(comments))
    return Schema(definitions, caveats)


@st.composite
def _allowed(
    draw: st.DrawFn, owner: str, types: Sequence[str], relations: dict[str, list[str]], caveats: Sequence[str]
) -> tuple[AllowedSubject, ...]:
    found: dict[AllowedSubject, None] = {}
    for _ in range(draw(st.integers(1, 4))):
        type_ = draw(st.sampled_from(types))
        # a userset of another definition must hold no wildcard, so only of this one
        kinds = ["plain", "wildcard", *(["userset"] if type_ == owner and relations[type_] else [])]
        kind = draw(st.sampled_from(kinds))
        relation = draw(st.sampled_from(relations[type_])) if kind == "userset" else ""
        caveat = draw(st.sampled_from(["", *caveats]))
        found[AllowedSubject(type_, relation, kind == "wildcard", caveat, draw(st.booleans()))] = None
    return tuple(found)


def _rewrites(relations: Sequence[str], tuplesets: Sequence[str]) -> st.SearchStrategy[Rewrite]:
    """Expressions over relations alone, so that no permission is an alias of another."""
    leaves: list[st.SearchStrategy[Rewrite]] = [st.just(Nil()), st.just(SelfSubject())]
    if relations:
        leaves.append(st.sampled_from(relations).map(ComputedUserset))
    if tuplesets:
        tupleset = st.sampled_from(tuplesets)
        target = st.sampled_from((*_RELATIONS, *_PERMISSIONS))
        leaves.append(st.builds(TupleToUserset, tupleset, target))
        style = st.sampled_from(("any", "all"))
        leaves.append(
            st.builds(lambda t, c, q: TupleToUserset(t, c, q, function_style=True), tupleset, target, style)
        )
    return st.recursive(st.one_of(leaves), _operators, max_leaves=8).filter(lambda one: rewrite_depth(one) <= 100)


def _operators(inner: st.SearchStrategy[Rewrite]) -> st.SearchStrategy[Rewrite]:
    several = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(
        several.map(lambda parts: Union(_flat(Union, parts))),
        several.map(lambda parts: Intersection(_flat(Intersection, parts))),
        st.builds(Exclusion, inner, inner),
    )


def _flat(operator: type[Union] | type[Intersection], parts: Sequence[Rewrite]) -> tuple[Rewrite, ...]:
    flat: list[Rewrite] = []
    for part in parts:
        flat.extend(part.children if isinstance(part, operator) else (part,))
    return tuple(flat)


def printable(schema: Schema, *, annotations: bool = True) -> Schema:
    """The schema as far as it is printed: lines of comments without their indentation, annotations if wanted."""

    def member(one: Relation) -> Relation:
        return replace(one, comment=_unindented(one.comment), annotation=one.annotation if annotations else ())

    return Schema(
        {
            name: replace(
                definition,
                comment=_unindented(definition.comment),
                relations={key: member(one) for key, one in definition.relations.items()},
            )
            for name, definition in schema.definitions.items()
        },
        {name: replace(caveat, comment=_unindented(caveat.comment)) for name, caveat in schema.caveats.items()},
    )


def _unindented(comment: str) -> str:
    return "\n".join(line.strip() for line in comment.splitlines())


@st.composite
def messy(draw: st.DrawFn, text: str) -> str:
    """The same tokens with other blanks, line breaks, semicolons and comments between them."""
    tokens = scan(Source(text))
    out: list[str] = []
    previous = ""
    for at, kind in enumerate(tokens.kinds):
        for _, comment in tokens.comments.get(at, ()):
            out.append(f"{comment}\n" if previous not in ENDED_BY_NEWLINE else f" {comment}")
            if comment.startswith("//") and previous in ENDED_BY_NEWLINE and kind != END:
                raise AssertionError("a line comment behind what a line break would end")
        if kind == FINISH:
            break
        if kind == END:
            out.append(
                draw(st.sampled_from(("\n", "\n\n\n", "\r\n", " // end\n", " /* end */ \n")))
                if tokens.texts[at] == "\n"
                else "; "
            )
        else:
            tight = previous and (previous in ("LPAR", "DOT") or kind in ("COMMA", "RPAR"))
            out.append("" if tight else draw(st.sampled_from((" ", "\t", "  ", " /* in */ "))))
            if previous and previous not in ENDED_BY_NEWLINE and kind != CEL and draw(st.integers(0, 4)) == 0:
                out.append(draw(st.sampled_from(("\n", "\n\n", "// here\n"))))
            out.append(tokens.texts[at])
        previous = kind
    return "".join(out)

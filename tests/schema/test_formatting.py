"""The layout, by example; that it loses nothing is held by generated texts elsewhere."""

import pytest

from schema.errors import SchemaError
from schema.formatting import format_schema


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param("  \n\n // a  \n", "// a\n", id="a comment alone"),
        pytest.param("definition   user{}", "definition user {}\n", id="an empty definition"),
        pytest.param("definition user {\n\n}\n", "definition user {}\n", id="an empty body is closed at once"),
        pytest.param(
            "definition user {} definition doc {}",
            "definition user {}\n\ndefinition doc {}\n",
            id="a blank line between",
        ),
        pytest.param(
            "use self\nuse   expiration\n\n\ndefinition user {}",
            "use self\nuse expiration\n\ndefinition user {}\n",
            id="flags stand together",
        ),
        pytest.param(
            "definition doc { relation aaa: doc; relation bbb: doc\n\n\n\nrelation ccc: doc\n}",
            "definition doc {\n\trelation aaa: doc\n\trelation bbb: doc\n\n\trelation ccc: doc\n}\n",
            id="a member to a line, one blank line kept",
        ),
        pytest.param(
            "definition doc {\n\n\trelation aaa: doc\n\n}",
            "definition doc {\n\trelation aaa: doc\n}\n",
            id="no blank lines at the ends of a body",
        ),
        pytest.param(
            "definition doc { relation aaa:doc|doc:*|doc#aaa|doc#...; }",
            "definition doc {\n\trelation aaa: doc | doc:* | doc#aaa | doc#...;\n}\n",
            id="types, and the semicolon that a terminal subject needs",
        ),
        pytest.param("definition doc { relation }", None, id="what cannot be read is refused"),
        pytest.param(
            "definition aaa / bcd { relation xxx : aaa / bcd # xxx; }",
            "definition aaa/bcd {\n\trelation xxx: aaa/bcd#xxx\n}\n",
            id="prefixes and usersets",
        ),
        pytest.param(
            "definition doc { permission ppp=(aaa+bbb)&ccc-ddd->eee.x; }", None, id="an error in an expression"
        ),
        pytest.param(
            "definition doc { permission ppp=( aaa+bbb )&ccc-ddd -> eee+fff . any ( ggg ); }",
            "definition doc {\n\tpermission ppp = (aaa + bbb) & ccc - ddd->eee + fff.any(ggg)\n}\n",
            id="an expression",
        ),
        pytest.param(
            "definition doc { permission ppp : user|group = aaa; }",
            "definition doc {\n\tpermission ppp: user | group = aaa\n}\n",
            id="an annotation",
        ),
        pytest.param(
            "definition doc { permission ppp = aaa +\n\n bbb +\n// why\nccc; }",
            "definition doc {\n\tpermission ppp = aaa +\n\t\tbbb + // why\n\t\tccc\n}\n",
            id="line breaks within a statement are the writer's",
        ),
        pytest.param(
            "definition doc { relation aaa: doc // who\n}",
            "definition doc {\n\trelation aaa: doc // who\n}\n",
            id="a comment behind a member stays there",
        ),
        pytest.param(
            "definition doc { // first\n relation aaa: doc; // next\n relation bbb: doc\n // last\n}",
            "definition doc {\n\t// first\n\trelation aaa: doc\n\t// next\n\trelation bbb: doc\n\t// last\n}\n",
            id="a comment that belongs to the next member stands above it",
        ),
        pytest.param(
            "/**\n  * who\n     they are\n*/\ndefinition user {}",
            "/**\n * who\nthey are\n */\ndefinition user {}\n",
            id="a block of stars",
        ),
        pytest.param(
            "caveat   ccc(a   int,b list < string >) {   a == 1 &&\n      b == []   }",
            "caveat ccc(a int, b list<string>) {\n\ta == 1 &&\n      b == []\n}\n",
            id="an expression of a caveat is left alone",
        ),
        pytest.param(
            "caveat ccc(a int) { // before\n a == 1 // within\n && a < 2 // after\n }",
            "caveat ccc(a int) {\n\t// before\n\ta == 1 // within\n && a < 2\n\t// after\n}\n",
            id="comments around an expression",
        ),
        pytest.param(
            "use partial partial base { ... other; }",
            "use partial\n\npartial base {\n\t...other\n}\n",
            id="partials",
        ),
        pytest.param(
            'use import import   "a.zed" definition user {}',
            'use import\nimport "a.zed"\n\ndefinition user {}\n',
            id="imports",
        ),
        pytest.param(
            "definition doc {\r\n\trelation aaa: doc\r\n}\r\n",
            "definition doc {\n\trelation aaa: doc\n}\n",
            id="one kind of line end",
        ),
        pytest.param(
            "definition doc { ; // a\n; relation aaa: doc; }",
            "definition doc {\n\t// a\n\t;\n\trelation aaa: doc\n}\n",
            id="a comment that belongs to nobody does not come to belong to somebody",
        ),
        pytest.param(
            "definition doc { relation aaa: doc#... // c\n; relation bbb: doc; }",
            "definition doc {\n\trelation aaa: doc#... // c\n\t\t;\n\trelation bbb: doc\n}\n",
            id="nor one before a semicolon that is needed",
        ),
    ],
)
def test_layout(text: str, expected: str | None) -> None:
    """Text in, text out, and the same again; ``None`` for what cannot be read."""
    if expected is None:
        with pytest.raises(SchemaError):
            format_schema(text)
        return
    assert format_schema(text) == expected
    assert format_schema(expected) == expected


def test_meaning_is_not_looked_at() -> None:
    """A text in the making can be laid out as soon as it can be read."""
    assert format_schema("definition doc{relation aaa:nothing;}") == "definition doc {\n\trelation aaa: nothing\n}\n"

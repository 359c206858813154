"""Caveats: every type of value, what is missing and what fails, in three values; and nothing that stalls."""

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.caveats import Caveats, CompiledCaveat, Failed, Missing, Verdict
from pdp.errors import CaveatEvaluationFailed, CaveatParameterInvalid, UnknownCaveat
from schema.compile import compile_schema
from schema.errors import SchemaError
from schema.model import Caveat, CaveatType


def compiled(parameters: str, expression: str) -> CompiledCaveat:
    """A caveat named ``tested``."""
    return CompiledCaveat(compile_schema(f"caveat tested({parameters}) {{ {expression} }}").caveats["tested"])


def judge(parameters: str, expression: str, stored: Mapping[str, Any], request: Mapping[str, Any]) -> Verdict:
    """The verdict on a caveat of these parameters."""
    caveat = compiled(parameters, expression)
    return caveat.evaluate(json.dumps(stored) if stored else "", caveat.bind_request(request))


# Values: each row binds one value and compares it with what it should have become

VALUES = [
    ("bool", True, "v", True, "true"),
    ("bool", False, "v", False, "false"),
    ("string", "é", "v == 'é'", True, "a string"),
    ("string", "", "v == ''", True, "an empty string"),
    ("string", "a\u0000b", "v.size() == 3", True, "a string with a zero byte"),
    ("string", "admin\u0000", "v == 'admin'", False, "a zero byte ends nothing"),
    ("any", "admin\u0000", "v == 'admin'", False, "nor in any"),
    ("list<string>", ["admin\u0000"], "'admin' in v", False, "nor in a list"),
    ("bytes", "YQBi", "v == b'a\\x00b'", True, "bytes with a zero byte"),
    ("map<any>", {"a": {"b": [1, True]}}, "v.isSubtreeOf({'a': {'b': [1, 1]}})", False, "true is not one"),
    ("int", 5, "v == 5", True, "a whole number"),
    ("int", -5, "v == -5", True, "a negative number"),
    ("int", 5.0, "v == 5", True, "a whole number with a point"),
    ("int", 1e3, "v == 1000", True, "a whole number with an exponent"),
    ("int", "5", "v == 5", True, "decimal text"),
    ("int", "+5", "v == 5", True, "decimal text with a sign"),
    ("int", "5.0", "v == 5", True, "whole decimal text with a point"),
    ("int", "1e3", "v == 1000", True, "decimal text with an exponent"),
    ("int", "9007199254740993", "v == 9007199254740993", True, "text keeps what a double would lose"),
    ("int", 9007199254740993, "v == 9007199254740993", True, "a large number"),
    ("int", 2**63 - 1, "v == 9223372036854775807", True, "the largest"),
    ("int", -(2**63), "v == -9223372036854775808", True, "the smallest"),
    ("int", 2**63, "v == 9223372036854775807", True, "beyond the largest is the largest"),
    ("int", "1e999", "v == 9223372036854775807", True, "far beyond, as text"),
    ("int", -(10**30), "v == -9223372036854775808", True, "beyond the smallest is the smallest"),
    ("uint", 5, "v == 5", True, "an unsigned number is an int to CEL"),
    ("uint", 0, "v == 0", True, "zero"),
    ("uint", "7", "v > 6", True, "decimal text"),
    ("double", 1.5, "v == 1.5", True, "a number"),
    ("double", 2, "v == 2.0", True, "a whole number becomes a double"),
    ("double", "1.5", "v == 1.5", True, "decimal text"),
    ("double", "-1e-3", "v == -0.001", True, "decimal text with an exponent"),
    ("bytes", "YWJj", "v == b'abc'", True, "base64"),
    ("bytes", "", "v == b''", True, "no bytes"),
    ("bytes", "/+8=", "v == b'\\xff\\xef'", True, "base64 with padding"),
    ("duration", "90s", "v == duration('1m30s')", True, "seconds"),
    ("duration", "1h30m", "v == duration('5400s')", True, "hours and minutes"),
    ("duration", "-1.5h", "v == duration('-5400s')", True, "a negative one"),
    ("duration", "100ms", "v < duration('1s')", True, "milliseconds"),
    ("duration", "1µs", "v == duration('0.000001s')", True, "microseconds"),
    ("duration", "1ns", "v > duration('0s')", True, "nanoseconds"),
    ("duration", "0", "v == duration('0s')", True, "zero needs no unit"),
    ("duration", ".5s", "v == duration('0.5s')", True, "a fraction alone"),
    ("timestamp", "2026-01-02T03:04:05Z", "v == timestamp('2026-01-02T03:04:05Z')", True, "UTC"),
    ("timestamp", "2026-01-02T03:04:05+01:00", "v == timestamp('2026-01-02T02:04:05Z')", True, "another zone"),
    ("timestamp", "2026-01-02T03:04:05-01:30", "v == timestamp('2026-01-02T04:34:05Z')", True, "a zone to the west"),
    ("timestamp", "2026-01-02T03:04:05.5Z", "v > timestamp('2026-01-02T03:04:05Z')", True, "a fraction"),
    ("timestamp", "2026-01-02T03:04:05.000000001Z", "v > timestamp('2026-01-02T03:04:05Z')", True, "a nanosecond"),
    ("timestamp", "0001-01-01T00:00:00Z", "v < timestamp('2026-01-02T03:04:05Z')", True, "the first"),
    ("timestamp", "2026-01-02T03:04:05Z", "v.getHours() == 3", True, "its hour is UTC's"),
    ("timestamp", "2026-01-02T03:04:05Z", "v.getHours('Europe/Berlin') == 4", True, "its hour elsewhere"),
    ("ipaddress", "10.1.2.3", "v.in_cidr('10.0.0.0/8')", True, "in a range"),
    ("ipaddress", "11.1.2.3", "v.in_cidr('10.0.0.0/8')", False, "not in a range"),
    ("ipaddress", "10.1.2.3", "v.in_cidr('10.9.9.9/8')", True, "a range with host bits"),
    ("ipaddress", "::ffff:10.1.2.3", "v.in_cidr('10.0.0.0/8')", True, "mapped into IPv6"),
    ("ipaddress", "2001:db8::1", "v.in_cidr('2001:db8::/32')", True, "IPv6"),
    ("ipaddress", "2001:db8::1", "v.in_cidr('0.0.0.0/0')", False, "IPv6 is in no IPv4 range"),
    ("ipaddress", "10.1.2.3", "v.in_cidr('10.1.2.3/32')", True, "a range of one"),
    ("list<int>", [1, "2", 3.0], "v == [1, 2, 3]", True, "elements are bound as the type says"),
    ("list<int>", [], "v.size() == 0", True, "an empty list"),
    ("list<list<string>>", [["a"], []], "v[0][0] == 'a'", True, "a list in a list"),
    ("list<bytes>", ["YQ=="], "v[0] == b'a'", True, "a list of bytes"),
    ("list<timestamp>", ["2026-01-02T03:04:05Z"], "v[0].getFullYear() == 2026", True, "a list of timestamps"),
    ("list<ipaddress>", ["10.0.0.1"], "v.all(i, i.in_cidr('10.0.0.0/8'))", True, "a list of addresses"),
    ("map<int>", {"a": "1"}, "v.a == 1", True, "a map"),
    ("map<int>", {"a b": 1}, "v['a b'] == 1", True, "a key that is no identifier"),
    ("map<list<int>>", {"a": [1]}, "v.a[0] == 1", True, "a list in a map"),
    ("map<map<bool>>", {"a": {"b": True}}, "v.a.b", True, "a map in a map"),
    ("map<any>", {"a": {"b": [1, None]}}, "v.a.b[0] == 1 && v.a.b[1] == null", True, "anything in a map"),
    ("any", None, "v == null", True, "null is a value of any"),
    ("any", True, "v == true", True, "any boolean"),
    ("any", "x", "v == 'x'", True, "any string"),
    ("any", 1, "v == 1", True, "any number equals whole ones"),
    ("any", 1.5, "v == 1.5", True, "any number with a fraction"),
    ("any", [1, "a"], "v[1] == 'a'", True, "any list"),
    ("any", {"a": 1}, "v.a == 1", True, "any object"),
    ("list<any>", [None, 1], "v[0] == null", True, "null within any"),
    ("map<any>", {"a": {"b": 1}}, "v.isSubtreeOf({'a': {'b': 1, 'c': 2}})", True, "a subtree"),
    ("map<any>", {"a": {"b": 1}}, "v.isSubtreeOf({'a': {'b': 2}})", False, "another value"),
    ("map<any>", {"a": {"b": 1}}, "v.isSubtreeOf({'a': 1})", False, "a value where a map should be"),
    ("map<any>", {"a": 1}, "v.isSubtreeOf({'b': 1})", False, "a key that is not there"),
    ("map<any>", {}, "v.isSubtreeOf({})", True, "nothing is a subtree of anything"),
    ("map<any>", {"a": [1, 2]}, "v.isSubtreeOf({'a': [1, 2]})", True, "lists are compared whole"),
    ("map<any>", {"a": 1}, "v.?a.orValue(0) == 1 && v.?b.orValue(7) == 7", True, "an optional field"),
    ("list<int>", [3], "v.exists(i, i == 3) && v.all(i, i > 2) && v.exists_one(i, i == 3)", True, "macros"),
    ("list<int>", [1, 2], "v.map(i, i * 2) == [2, 4] && v.filter(i, i > 1) == [2]", True, "macros that make lists"),
    (
        "string",
        "abc",
        "v.startsWith('a') && v.endsWith('c') && v.contains('b') && v.matches('^a.c$')",
        True,
        "strings",
    ),
    ("string", "2026-01-02T03:04:05Z", "timestamp(v).getMonth() == 0", True, "conversions"),
    ("int", 5, "v == 5 ? true : false", True, "a choice"),
    ("int", 7, "v in [1, 7]", True, "membership"),
]


@pytest.mark.parametrize(
    ("type_", "value", "expression", "expected"),
    [pytest.param(*row[:4], id=f"{row[0]}: {row[4]}") for row in VALUES],
)
def test_a_value(type_: str, value: Any, expression: str, expected: bool) -> None:
    """A value is what its declared type says, from a request and from a relationship alike."""
    assert judge(f"v {type_}", expression, {}, {"v": value}) is expected
    assert judge(f"v {type_}", expression, {"v": value}, {}) is expected


REFUSED = [
    ("bool", "true", "expected a boolean, found a string"),
    ("bool", 1, "expected a boolean, found the number 1"),
    ("bool", None, "expected a boolean, found null"),
    ("string", 1, "expected a string, found the number 1"),
    ("string", True, "expected a string, found a boolean"),
    ("string", None, "expected a string, found null"),
    ("string", ["a"], "expected a string, found a list"),
    ("string", "\ud800", "half of a surrogate pair"),
    ("int", 1.5, "one with a fraction"),
    ("int", "1.5", "one with a fraction"),
    ("int", "0x1", "no decimal number"),
    ("int", "", "no decimal number"),
    ("int", " 1", "no decimal number"),
    ("int", "1_000", "no decimal number"),
    ("int", "١", "no decimal number"),
    ("int", "Infinity", "no decimal number"),
    ("int", True, "found a boolean"),
    ("int", None, "found null"),
    ("int", [1], "found a list"),
    ("int", float("nan"), "expected a whole number"),
    ("int", "9" * 401, "no decimal number"),
    ("uint", -1, "not negative"),
    ("uint", "-1", "not negative"),
    ("uint", 0.5, "one with a fraction"),
    ("double", "abc", "no decimal number"),
    ("double", "NaN", "no decimal number"),
    ("double", float("inf"), "expected a number"),
    ("double", "1e999", "fits a double"),
    ("double", False, "found a boolean"),
    ("bytes", "YWJ", "padded base64"),
    ("bytes", "YWJj!", "padded base64"),
    ("bytes", "YW-_", "padded base64"),
    ("bytes", 1, "found the number 1"),
    ("duration", "90", "such as `1h30m`"),
    ("duration", "1d", "such as `1h30m`"),
    ("duration", "", "such as `1h30m`"),
    ("duration", "1h 30m", "such as `1h30m`"),
    ("duration", "PT1H", "such as `1h30m`"),
    ("duration", 90, "found the number 90"),
    ("duration", "9999999h", "293 years"),
    ("timestamp", "2026-01-02", "RFC 3339"),
    ("timestamp", "2026-01-02 03:04:05Z", "RFC 3339"),
    ("timestamp", "2026-01-02T03:04:05", "RFC 3339"),
    ("timestamp", "2026-02-30T03:04:05Z", "that exists"),
    ("timestamp", "2026-01-02T24:00:00Z", "that exists"),
    ("timestamp", "2026-01-02T03:04:05+24:00", "that exists"),
    ("timestamp", "9999-12-31T23:59:59-01:00", "that exists"),
    ("timestamp", 1767322800, "found the number 1767322800"),
    ("ipaddress", "10.0.0", "expected an IP address"),
    ("ipaddress", "10.0.0.0/8", "expected an IP address"),
    ("ipaddress", "", "expected an IP address"),
    ("ipaddress", 167772160, "found the number"),
    ("map<int>", {"a\u0000": 1}, "zero byte"),
    ("list<int>", "1", "expected a list"),
    ("list<int>", {"a": 1}, "expected a list"),
    ("list<int>", [1, "x"], "no decimal number"),
    ("list<int>", [None], "found null"),
    ("map<int>", [1], "expected an object"),
    ("map<int>", {"a": "x"}, "no decimal number"),
    ("map<list<int>>", {"a": 1}, "expected a list"),
    ("any", json.loads("[" * 70 + "]" * 70), "nested more than 64 deep"),
    ("any", 10**400, "fits a double"),
]


@pytest.mark.parametrize(
    ("type_", "value", "reason"),
    [pytest.param(*row, id=f"{row[0]} from {str(row[1])[:24]!r}") for row in REFUSED],
)
def test_a_value_of_another_type(type_: str, value: Any, reason: str) -> None:
    """A value that is none of the parameter's type is refused by name, in a request and in a relationship."""
    caveat = compiled(f"v {type_}", "v == v")
    for use in (caveat.bind_request, caveat.check_stored):
        with pytest.raises(CaveatParameterInvalid) as refused:
            use({"v": value})
        assert (refused.value.caveat, refused.value.parameter) == ("tested", "v")
        assert reason in str(refused.value)


def missing(*names: str) -> Missing:
    """A verdict that these parameters are missing."""
    return Missing(names)


THREE_VALUES = [
    ("a bool, b bool", "a && b", {}, missing("a", "b"), "both are missing"),
    ("a bool, b bool", "b && a", {}, missing("b", "a"), "in order of appearance"),
    ("a bool, b bool", "a && b", {"a": True}, missing("b"), "one is missing"),
    ("a bool, b bool", "a && b", {"a": False}, False, "false decides an and"),
    ("a bool, b bool", "a && b", {"b": False}, False, "also from the right"),
    ("a bool, b bool", "a || b", {"b": True}, True, "true decides an or"),
    ("a bool, b bool", "a || b", {"b": False}, missing("a"), "false decides no or"),
    ("a bool, b bool", "!a || b", {}, missing("a", "b"), "a negation of what is missing"),
    ("a bool", "!a", {"a": False}, True, "a negation"),
    ("x int, y int", "x < 10 || y > 0", {"x": 5}, True, "a comparison decides"),
    ("x int, y int", "x < 10 || y > 0", {"x": 50}, missing("y"), "a comparison does not decide"),
    ("x int, y int", "x + y == 3", {}, missing("x", "y"), "both operands of one comparison"),
    ("x int, y int", "x + y == 3", {"y": 1}, missing("x"), "one operand of a comparison"),
    ("x int, y int", "x == 1 && y == 1 && x == 2", {}, missing("x", "y"), "each name once"),
    ("a bool, b bool, c bool", "(a || b) && c", {"c": False}, False, "false outside decides"),
    ("a bool, b bool, c bool", "(a || b) && c", {"a": True}, missing("c"), "only what matters"),
    ("a bool, b bool, c bool", "(a && b) || (b && c)", {"b": False}, False, "all ways are closed"),
    ("a bool, b bool, c bool", "(a && b) || (b && c)", {"a": False}, missing("b", "c"), "one way is closed"),
    ("a bool, b bool, c bool", "a ? b : c", {}, missing("a", "b", "c"), "a choice without anything"),
    ("a bool, b bool, c bool", "a ? b : c", {"a": True, "c": True}, missing("b"), "a choice made"),
    ("a bool, b bool, c bool", "a ? b : c", {"b": True, "c": True}, True, "a choice that makes no difference"),
    ("a bool, b bool, c bool", "a ? b : c", {"b": False, "c": False}, False, "nor here"),
    ("a bool, b bool, c bool", "a ? b : c", {"b": True, "c": False}, missing("a"), "a choice that does"),
    ("l list<int>, x int", "l.exists(i, i == x)", {"l": [1]}, missing("x"), "missing within a macro"),
    ("l list<int>, x int", "l.exists(i, i == x)", {"l": []}, False, "not needed by an empty list"),
    ("l list<int>, x int", "x in l", {"x": 1}, missing("l"), "a missing list"),
    ("m map<any>", "has(m.a)", {}, missing("m"), "a missing map is not an empty one"),
    ("m map<any>", "has(m.a)", {"m": {}}, False, "a missing key"),
    ("m map<any>", "m.?a.orValue(true) == true", {}, missing("m"), "an optional field of a missing map"),
    ("m map<any>, y int", "m.?x.orValue(y) == 1", {"m": {"x": 1}}, True, "a fallback that is not needed"),
    ("m map<any>, y int", "m.?x.orValue(y) == 1", {"m": {}}, missing("y"), "a fallback that is"),
    ("x int, y bool, z int", "(y ? x : z) == 1", {"y": True, "x": 1}, True, "a choice within a comparison"),
    ("x int, y bool, z int", "(y ? x : z) == 1", {"y": False, "x": 1}, missing("z"), "that needs the other side"),
    ("i int, l list<int>", "l.all(i, i > 0) && i == 5", {"l": [1], "i": 5}, True, "a macro's variable is its own"),
    ("i int, l list<int>", "l.all(i, i > 0) && i == 5", {"l": [1]}, missing("i"), "and is not the parameter"),
    ("x any", "x == null", {"x": None}, True, "null is not missing"),
    ("x any", "x == null", {}, missing("x"), "missing is not null"),
    ("x int, a bool", "1 / x == 1 || a", {"x": 0}, missing("a"), "unknown outranks failed"),
    ("x int, a bool", "a || 1 / x == 1", {"x": 0}, missing("a"), "in any order"),
    ("x int, a bool", "1 / x == 1 || a", {"x": 0, "a": True}, True, "true outranks failed"),
    ("x int, a bool", "1 / x == 1 && a", {"x": 0, "a": False}, False, "false outranks failed"),
    ("x int, y int", "1 / x == y", {"x": 0}, missing("y"), "a part that fails and misses is missing"),
]


@pytest.mark.parametrize(
    ("parameters", "expression", "request_context", "expected"),
    [pytest.param(*row[:4], id=row[4]) for row in THREE_VALUES],
)
def test_three_values(
    parameters: str, expression: str, request_context: Mapping[str, Any], expected: Verdict
) -> None:
    """Kleene's logic, with every parameter named that is missing and matters, and no other."""
    assert judge(parameters, expression, {}, request_context) == expected


FAILURES = [
    ("x int", "1 / x == 1", {"x": 0}, "divide by zero"),
    ("x int", "1 % x == 1", {"x": 0}, "modulus by zero"),
    ("x int", "x + 1 == 0", {"x": 2**63 - 1}, "overflow"),
    ("x int, a bool", "1 / x == 1 || a", {"x": 0, "a": False}, "divide by zero"),
    ("x int, a bool", "1 / x == 1 ? a : a", {"x": 0, "a": True}, "divide by zero"),
    ("m map<any>", "m.a == 1", {"m": {}}, "not found"),
    ("m map<any>", "m['a'] == 1", {"m": {}}, "not found"),
    ("l list<int>", "l[3] == 1", {"l": [1]}, "Index error"),
    ("m map<any>", "m.a > 0", {"m": {"a": "x"}}, "o matching overload"),
    ("m map<any>", "m.a && true", {"m": {"a": "x"}}, "is `string`, not `bool`"),
    ("m map<any>", "m.a.b == 1", {"m": {"a": 1}}, ""),
    ("s string", "int(s) == 1", {"s": "x"}, ""),
    ("s string", "timestamp(s) == timestamp(s)", {"s": "x"}, "Timestamp"),
    ("s string", "'a'.matches(s)", {"s": "("}, "regular expression"),
    ("t timestamp, z string", "t.getHours(z) == 1", {"t": "2026-01-02T03:04:05Z", "z": "Nowhere/Town"}, ""),
    ("i ipaddress, c string", "i.in_cidr(c)", {"i": "10.0.0.1", "c": "10.0.0.0"}, "`10.0.0.0` is no CIDR range"),
    ("i ipaddress, c string", "i.in_cidr(c)", {"i": "10.0.0.1", "c": "10.0.0.0/33"}, ""),
    ("i ipaddress, c string", "i.in_cidr(c)", {"i": "10.0.0.1", "c": "10.0.0.0/255.0.0.0"}, "no CIDR range"),
    ("i ipaddress, c string", "i.in_cidr(c)", {"i": "10.0.0.1", "c": "10.0.0.0/08"}, "no CIDR range"),
]


@pytest.mark.parametrize(
    ("parameters", "expression", "request_context", "reason"),
    [pytest.param(*row, id=f"{row[1]} with {row[2]}") for row in FAILURES],
)
def test_what_cannot_be_computed(
    parameters: str, expression: str, request_context: Mapping[str, Any], reason: str
) -> None:
    """An expression that fails is neither true nor false, and says why without naming the library's statuses."""
    verdict = judge(parameters, expression, {}, request_context)
    assert isinstance(verdict, Failed)
    assert reason in verdict.error.reason
    assert "INTERNAL" not in str(verdict.error)
    assert "INVALID_ARGUMENT" not in str(verdict.error)
    assert str(verdict.error).startswith("evaluation error for caveat `tested`: ")


def test_the_relationship_wins() -> None:
    """A request cannot raise a limit that a relationship stores."""
    assert judge("limit int, amount int", "amount <= limit", {"limit": 10}, {"limit": 1000, "amount": 50}) is False
    assert judge("limit int, amount int", "amount <= limit", {"limit": 10}, {"limit": 1, "amount": 5}) is True


def test_context_that_is_for_nothing() -> None:
    """An unknown name is dropped from a request and refused in a relationship."""
    caveat = compiled("a bool", "a")
    assert caveat.evaluate("", caveat.bind_request({"a": True, "other": object()})) is True
    with pytest.raises(CaveatParameterInvalid, match="`other`: the caveat has no such parameter"):
        caveat.check_stored({"a": True, "other": 1})


def test_a_stored_context_that_no_longer_fits_fails_where_it_matters() -> None:
    """Written under another schema, perhaps: it decides nothing."""
    caveat = compiled("a int", "a == 1")
    verdict = caveat.evaluate('{"a":"x"}', caveat.bind_request({}))
    assert isinstance(verdict, Failed)
    assert isinstance(verdict.error, CaveatParameterInvalid)


def test_a_request_of_the_wrong_type_fails_the_caveats_that_use_it() -> None:
    """It does not disturb the others, nor the answers that do not depend on it."""
    caveats = Caveats(compile_schema("caveat uses(a int) { a == 1 }\ncaveat other(b int) { b == 1 }"))
    ask = caveats.asked_with({"a": "x", "b": 1})
    verdict = ask("uses", "")
    assert isinstance(verdict, Failed)
    assert isinstance(verdict.error, CaveatParameterInvalid)
    assert ask("other", "") is True
    assert ask("other", '{"b":2}') is False


def test_an_unknown_caveat() -> None:
    """The schema at the revision asked has no such caveat."""
    with pytest.raises(UnknownCaveat, match="`nothing`"):
        Caveats(compile_schema("")).asked_with({})("nothing", "")


def test_a_caveat_that_no_compiler_has_checked() -> None:
    """A caveat made by hand is compiled when it is first used; one that is not valid is a mistake of ours."""
    assert CompiledCaveat(Caveat("hand", {"a": CaveatType("bool")}, "a")).evaluate('{"a":true}', _NOTHING) is True
    with pytest.raises(ValueError, match="undeclared reference"):
        CompiledCaveat(Caveat("hand", {"a": CaveatType("bool")}, "a && zzz"))


_NOTHING = compiled("a bool", "a").bind_request({})


# Hostile expressions and contexts

DOUBLINGS = ".map(a, a + a)"


@pytest.mark.parametrize(
    ("parameters", "expression"),
    [
        pytest.param("s string", f"[s]{DOUBLINGS * 20}.exists(a, a == 'x')", id="a string doubled"),
        pytest.param("s list<int>", f"[s]{DOUBLINGS * 20}.exists(a, a == [1])", id="a list doubled"),
        pytest.param("s string", f"['aaaaaaaa']{DOUBLINGS * 26}.exists(a, a == s)", id="a constant doubled"),
        pytest.param("l list<int>", "l.map(a, l.map(b, l.map(c, l))) == []", id="lists within lists"),
        pytest.param("s string", " || ".join(["s.matches('(a|b)*a(a|b){900}')"] * 600), id="many patterns"),
    ],
)
def test_an_expression_that_could_take_too_long_is_refused_when_written(parameters: str, expression: str) -> None:
    """Growth that the library's own bound does not see."""
    with pytest.raises(SchemaError, match="could take too long"):
        compiled(parameters, expression)


@pytest.mark.parametrize(
    ("parameters", "expression", "request_context"),
    [
        pytest.param("l list<int>", "l.all(a, l.all(b, a + b >= 0))", {"l": [0] * 5_000}, id="nested loops"),
        pytest.param("l list<int>", "l.all(a, l.all(b, l.all(c, a == b)))", {"l": [0] * 500}, id="three loops"),
        pytest.param("l list<int>", "l.all(a, a in l)", {"l": list(range(9_000))}, id="a search in a loop"),
        pytest.param("l list<string>", "l.map(a, a) == l", {"l": ["x"] * 9_000}, id="a list made anew"),
        pytest.param("s string, p string", "s.matches(p)", {"s": "ab" * 6_000, "p": "(a|b)" * 2_000}, id="a pattern"),
        pytest.param(
            "s string, p string", "s.contains(p)", {"s": "a" * 14_000, "p": "a" * 14_000 + "b"}, id="a part"
        ),
        pytest.param("l list<int>", f"[l]{DOUBLINGS * 2}.exists(a, a == l)", {"l": [0] * 9_000}, id="doubled twice"),
        pytest.param(
            "l list<string>, i ipaddress",
            "l.all(a, i.in_cidr(a))",
            {"l": [f"10.{n % 256}.{n // 256}.0/8" for n in range(1_800)], "i": "10.0.0.1"},
            id="many ranges",
        ),
        pytest.param("m map<any>", "m.isSubtreeOf(m)", {"m": {str(n): n for n in range(3_000)}}, id="a large tree"),
    ],
)
def test_a_hostile_context_does_not_stall(
    parameters: str, expression: str, request_context: Mapping[str, Any]
) -> None:
    """Whatever the context, one evaluation takes some tens of milliseconds, or is refused."""
    caveat = compiled(parameters, expression)
    bound = caveat.bind_request(request_context)
    caveat.evaluate("", caveat.bind_request({}))
    started = time.process_time()
    verdict = caveat.evaluate("", bound)
    assert time.process_time() - started < 0.2
    assert isinstance(verdict, bool | Failed)


def test_a_context_too_large_for_its_expression_says_so() -> None:
    """The refusal tells what the expression takes; a smaller context is judged."""
    caveat = compiled("l list<int>", "l.all(a, a in l)")
    assert caveat.evaluate("", caveat.bind_request({"l": list(range(100))})) is True
    verdict = caveat.evaluate("", caveat.bind_request({"l": list(range(5_000))}))
    assert isinstance(verdict, Failed)
    assert "takes at most 512 elements" in str(verdict.error)
    with pytest.raises(CaveatEvaluationFailed, match="takes at most 512 elements"):
        caveat.check_stored({"l": list(range(5_000))})


def test_nothing_is_judged_with_more_than_any_context_may_hold() -> None:
    """However cheap the expression: a door that lets more in is not trusted to have counted."""
    caveat = compiled("s string", "s == ''")
    assert caveat.evaluate("", caveat.bind_request({"s": "x" * 65_536})) is False
    verdict = caveat.evaluate('{"s":"' + "x" * 65_537 + '"}', caveat.bind_request({}))
    assert isinstance(verdict, Failed)
    assert "takes at most 65536 bytes of text" in str(verdict.error)


def test_an_ordinary_membership_takes_the_largest_context() -> None:
    """What is cheap is not limited: a list as long as a context can be."""
    caveat = compiled("l list<string>, s string", "s in l")
    assert caveat.evaluate("", caveat.bind_request({"l": ["x"] * 12_000, "s": "x"})) is True


# Kleene's rules against a definition of them that shares nothing with the evaluator


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:
    """Expressions over booleans ``a`` to ``d``, some parts of which cannot be computed."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(["a", "b", "c", "d", "1 / z == 1"]))
    inner = expressions(depth=depth - 1)
    match draw(st.integers(0, 3)):
        case 0:
            return f"!({draw(inner)})"
        case 1:
            return f"({draw(inner)} && {draw(inner)})"
        case 2:
            return f"({draw(inner)} || {draw(inner)})"
        case _:
            return f"({draw(inner)} ? {draw(inner)} : {draw(inner)})"


@given(expressions(), st.dictionaries(st.sampled_from("abcd"), st.booleans()))
def test_missing_means_that_values_could_decide_either_way(expression: str, given_: dict[str, bool]) -> None:
    """Filling in what is missing, in every way, never contradicts an answer; a decided answer stays."""
    uses = "a == a && b == b && c == c && d == d && z == z"
    caveat = CompiledCaveat(
        Caveat(
            "made",
            {**dict.fromkeys("abcd", CaveatType("bool")), "z": CaveatType("int")},
            f"({expression}) || !({uses})",
        )
    )
    known = {**given_, "z": 0}
    verdict = caveat.evaluate("", caveat.bind_request(known))
    absent = [name for name in "abcd" if name not in given_]
    outcomes = []
    for bits in range(2 ** len(absent)):
        filled = {name: bool(bits >> at & 1) for at, name in enumerate(absent)}
        outcomes.append(caveat.evaluate("", caveat.bind_request({**known, **filled})))
    if isinstance(verdict, bool):
        assert all(outcome is verdict for outcome in outcomes)
    elif isinstance(verdict, Missing):
        assert set(verdict.names) <= set(absent)
    else:
        assert any(isinstance(outcome, Failed) for outcome in outcomes)

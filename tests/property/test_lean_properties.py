"""What stands in for `typing`, `json` and `hashlib` does what they do, whatever the input."""

from __future__ import annotations

import hashlib
import json
import types
import typing
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from variants import both_ends

# --- named tuples

NAMES = ("cls", "self", "name", "values", "named", "given", "x")
VALUES = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
FIELDS = st.lists(st.sampled_from(NAMES), unique=True, max_size=5)


@st.composite
def classes(draw: st.DrawFn) -> tuple[list[str], dict[str, Any]]:
    """Fields, and the defaults of the last of them."""
    fields = draw(FIELDS)
    last = fields[draw(st.integers(0, len(fields))) :]
    return fields, {field: draw(VALUES) for field in last}


def twin(base: Any, fields: list[str], defaults: dict[str, Any]) -> Any:
    """A class with these fields."""

    def fill(body: dict[str, Any]) -> None:
        body |= {"__module__": __name__, "__annotations__": dict.fromkeys(fields, "Any"), **defaults}

    return types.new_class("Twin", (base,), exec_body=fill)


def outcome(call: Any, *values: Any, **named: Any) -> Any:
    """What a call came to: all that can be seen of a tuple, or the class of the error."""
    try:
        made = call(*values, **named)
    except TypeError:
        return TypeError
    by_name = {field: getattr(made, field) for field in made._fields}
    return tuple(made), repr(made), made._asdict(), by_name, list(made._asdict())


@both_ends
@given(
    classes(),
    st.lists(VALUES, max_size=6),
    st.dictionaries(st.sampled_from([*NAMES, "other"]), VALUES, max_size=3),
)
def test_a_tuple_is_made_as_typings(
    lean: Any, shape: tuple[list[str], dict[str, Any]], values: list[Any], named: dict[str, Any]
) -> None:
    """From values in order, by name, by default; or both refuse."""
    ours, theirs = twin(lean.NamedTuple, *shape), twin(typing.NamedTuple, *shape)
    assert (ours._fields, ours._field_defaults) == (theirs._fields, theirs._field_defaults)
    assert outcome(ours, *values, **named) == outcome(theirs, *values, **named)


@both_ends
@given(
    FIELDS.flatmap(lambda fields: st.tuples(st.just(fields), st.fixed_dictionaries(dict.fromkeys(fields, VALUES)))),
    st.dictionaries(st.sampled_from([*NAMES, "other"]), VALUES, max_size=3),
)
def test_fields_are_replaced_as_typings(
    lean: Any, shape: tuple[list[str], dict[str, Any]], changes: dict[str, Any]
) -> None:
    """With a new tuple, the old one staying as it is; a field that is not there is refused."""
    fields, values = shape
    pair = [twin(base, fields, {})(**values) for base in (lean.NamedTuple, typing.NamedTuple)]
    known = {name: value for name, value in changes.items() if name in fields}
    ours, theirs = (outcome(made._replace, **known) for made in pair)
    assert ours == theirs
    assert pair[0] == pair[1] == tuple(values[field] for field in fields)
    assert (outcome(pair[0]._replace, **changes) is TypeError) == (known != changes)


@both_ends
@given(st.lists(st.integers(), min_size=2, max_size=2), st.lists(st.integers(), min_size=2, max_size=2))
def test_tuples_compare_and_hash_as_tuples(lean: Any, one: list[int], other: list[int]) -> None:
    """Theirs do."""
    pair = twin(lean.NamedTuple, ["x", "name"], {})
    first, second = pair(*one), pair(*other)
    assert (first == second, first < second) == (one == other, one < other)
    assert first == tuple(one)
    assert hash(first) == hash(tuple(one))
    x, name = first
    assert [x, name] == one


# --- reading JSON

NUMBERS = st.integers() | st.floats()
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
SOUP = st.text(st.sampled_from('{}[]":,\\/bfnrtu0019aFeE+-. \t\n\x00\x1f\x7ftruefalsenullNaNInfinity\u20ac\ud800'))


@st.composite
def texts(draw: st.DrawFn) -> str:
    """JSON, JSON with something put in or taken out, and what only looks a little like it."""
    text = json.dumps(draw(DOCUMENTS), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.just("") | SOUP) + text[at + draw(st.integers(0, 2)) :]
    return draw(st.just(text) | SOUP)


HOOKS = st.fixed_dictionaries(
    {},
    optional={
        "object_pairs_hook": st.sampled_from([None, list, dict]),
        "parse_int": st.sampled_from([int, str]),
        "parse_float": st.sampled_from([float, str]),
        "parse_constant": st.sampled_from([float, str]),
    },
)


def reading(call: Any, text: str, start: int) -> Any:
    """The value and its end, where not-a-number is equal to itself; or the error."""
    try:
        return repr(call(text, start))
    except json.JSONDecodeError as error:
        return error.msg, error.pos, error.doc


@both_ends
@given(texts(), st.integers(0, 3), HOOKS)
def test_json_is_read_as_by_json(lean: Any, text: str, start: int, hooks: dict[str, Any]) -> None:
    """Values, ends and errors, wherever it begins."""
    theirs = reading(json.JSONDecoder(**hooks).raw_decode, text, start)
    assert reading(lean.JsonReader(**hooks).read, text, start) == theirs


@both_ends
@given(st.integers(0, 3).map(lambda power: 10**power))
def test_json_is_as_deep_as_json(lean: Any, depth: int) -> None:
    """Up to a thousand levels, with what comes of it in this interpreter: a value, or `RecursionError`."""
    text = "[" * depth + "]" * depth
    outcomes = []
    for call in (lean.JsonReader().read, json.JSONDecoder().raw_decode):
        try:
            outcomes.append(call(text, 0)[1])
        except RecursionError:
            outcomes.append(RecursionError)
    assert outcomes[0] == outcomes[1]


# --- writing JSON

OURS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@both_ends
@given(OURS)
def test_json_is_written_as_by_json(lean: Any, document: object) -> None:
    """Compact and in ASCII; and what was written is read again."""
    text = lean.to_json(document)
    assert text == json.dumps(document, separators=(",", ":"))
    assert text.isascii()
    assert lean.to_json(lean.JsonReader(dict).read(text, 0)[0]) == text


@both_ends
@given(OURS, st.floats() | st.binary() | st.sets(st.integers()), st.data())
def test_a_fraction_anywhere_is_refused(lean: Any, document: object, stray: object, data: st.DataObject) -> None:
    """As are bytes and sets, among values of any kind."""
    wrapped: Any = data.draw(st.sampled_from([[document, stray], {"a": document, "b": (stray,)}, (stray, document)]))
    try:
        text = lean.to_json(wrapped)
    except TypeError:
        return
    raise AssertionError(f"written: {text}")


# --- hashes


@both_ends
@given(st.lists(st.binary()))
def test_the_hash_is_hashlibs(lean: Any, parts: list[bytes]) -> None:
    """In one go, or piece by piece."""
    digest = lean.sha256()
    for part in parts:
        digest.update(part)
    expected = hashlib.sha256(b"".join(parts))
    assert digest.hexdigest() == lean.sha256(b"".join(parts)).hexdigest() == expected.hexdigest()
    assert digest.digest() == expected.digest()

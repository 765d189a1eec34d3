"""Orders: what is written is read again, the schemas say what the reader says, and a match is what a model says."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

import pullpass
from ordering import IMAGE, ROLE, make_document, make_list
from pullpass.approvals import order_form, orders
from pullpass.lean import to_json
from pullpass.store import strict

SCHEMAS = Path(pullpass.__file__).parent / "schemas"
MOMENTS = FormatChecker(formats=())


@MOMENTS.checks("date-time")
def is_moment(value: object) -> bool:
    """Whether the calendar has this moment; the form is the schema's pattern."""
    try:
        return not isinstance(value, str) or bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def validator(name: str) -> Draft202012Validator:
    """What validates by one of the schemas in the package."""
    schemas = {file: json.loads((SCHEMAS / file).read_text()) for file in ("order.json", "order-list.json")}
    registry: Registry[Any] = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in schemas.values()
    )
    Draft202012Validator.check_schema(schemas[name])
    return Draft202012Validator(schemas[name], registry=registry, format_checker=MOMENTS)


ORDER, ORDER_LIST = validator("order.json"), validator("order-list.json")

# --- documents, most of them nearly right

ANY = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.text(max_size=3), st.just([]), st.just({}))
IDS = st.one_of(
    st.from_regex(r"[a-z0-9-]{1,5}", fullmatch=True),
    st.sampled_from(["remote", "remote-1", "", "A", "a_b", "a.b", "ä", "a\n", "a" * 64, "a" * 65]),
)


def parted(*segments: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts of segments parted by slashes, with something odd behind them now and then."""
    odd = st.sampled_from(["", "", "", "", "", "\n", "/", ":1", "@", " ", "ä", "a" * 2045])
    return st.tuples(st.tuples(*segments).map("/".join), odd).map("".join)


HOSTS = st.sampled_from(
    ["r.test", "*.r.test", "*", "**", "localhost", "localhosts", "r:80", "r.test:", "*:80", "**:80", "r:8:0", ":80",
     "team", "R.test", "", "a**.b", "***"]
)  # fmt: skip
SEGMENTS = st.sampled_from(
    ["a", "a-b", "a.b_c", "*", "a*b*", "**", "a**", "", "A", "a:1", "a@b", "a?", "a b", "ä", "~!"]
)
GLOBS = {
    "image": parted(HOSTS) | parted(HOSTS, SEGMENTS) | parted(HOSTS, SEGMENTS, SEGMENTS),
    "serviceAccount": parted(SEGMENTS) | parted(SEGMENTS, SEGMENTS) | parted(SEGMENTS, SEGMENTS, SEGMENTS),
    "identity": parted(SEGMENTS) | parted(SEGMENTS, SEGMENTS) | parted(st.just("arn:aws:iam::1:role"), SEGMENTS),
}
SELECTORS = st.one_of(
    st.sampled_from(sorted(GLOBS)).flatmap(lambda name: st.fixed_dictionaries({name: GLOBS[name]})),
    st.fixed_dictionaries({}, optional={**GLOBS, "all": st.sampled_from([True, True, 1, False]), "images": ANY}),
    ANY,
)
TIMES = st.one_of(
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.from_regex(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,8})?Z", fullmatch=True),
    st.sampled_from(
        ["2027-01-01T00:00:00Z\n", "2027-01-01T00:00:00+00:00", "2027-01-01 00:00:00Z", "2027-01-01T00:00:00.Z",
         "2027-02-29T00:00:00Z", "2028-02-29T00:00:00z", "0000-01-01T00:00:00Z", "٢٠٢٧-01-01T00:00:00Z"]
    ),
    ANY,
)  # fmt: skip
TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=3),
    st.sampled_from(["x" * 256, "x" * 257, "x" * 1024, "ä" * 1025]),
    ANY,
)
MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "apiVersion": st.one_of(st.just("pullpass/v2"), ANY),
    "kind": st.one_of(st.just("PullOrderList"), ANY),
    "id": IDS,
    "action": st.one_of(st.sampled_from(["block", "revalidate", "Block"]), ANY),
    "selector": SELECTORS,
    "created": TIMES,
    "notBefore": TIMES,
    "expires": TIMES,
    "reason": TEXTS,
    "by": TEXTS,
    "status": ANY,
}


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """A right order with up to two members changed or left out, seldom something else."""
    document = make_document(draw(st.sampled_from(["a", "b", "c", "d"])))
    for name in draw(st.lists(st.sampled_from(sorted(MEMBERS)), max_size=2, unique=True)):
        document[name] = draw(MEMBERS[name])
        if document[name] is None:
            del document[name]
    return draw(st.sampled_from([document] * 9 + [draw(ANY)]))


def accepted(decode: Any, document: object) -> bool:
    """Whether the reader takes a document, as it would come out of a file."""
    try:
        decode(strict.parse(json.dumps(document).encode()))
    except ValueError:
        return False
    return True


@given(documents())
@settings(max_examples=1000)
@example(make_document(selector={"image": "localhost/a"}))
@example(make_document(selector={"image": "localhosts/a"}))
@example(make_document(selector={"image": "*:80/**/a"}))
@example(make_document(selector={"all": 1}))
@example(make_document(notBefore=None))
def test_reader_and_schema_agree_on_orders(document: Any) -> None:
    """On every document, right or wrong."""
    assert accepted(order_form.decode, document) == ORDER.is_valid(document)


@pytest.mark.parametrize("name", sorted(GLOBS))
@given(st.data())
@settings(max_examples=500)
def test_reader_and_schema_agree_on_globs(name: str, data: st.DataObject) -> None:
    """On each kind, right or wrong."""
    document = make_document(selector={name: data.draw(GLOBS[name])})
    assert accepted(order_form.decode, document) == ORDER.is_valid(document)


@given(st.lists(documents(), max_size=3), st.sampled_from(["", "", "", "items", "apiVersion", "kind", "metadata"]), ANY)
@settings(max_examples=500)
def test_reader_and_schema_agree_on_sets(items: list[Any], changed: str, value: Any) -> None:
    """But for ids that stand twice, which a schema can't say."""
    document = make_list(*items) | ({changed: value} if changed else {})
    ids = [item["id"] for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)]
    twice = len(set(ids)) < len(ids) and document["items"] == items
    assert accepted(order_form.decode_list, document) == (ORDER_LIST.is_valid(document) and not twice)


# --- there and back

MOMENTS_S = st.integers(0, 4_000_000_000_000_000).map(lambda micros: micros / 1_000_000)
ORDERS = st.builds(
    orders.Order,
    st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True).filter(lambda order_id: order_id != "remote"),
    st.sampled_from(orders.ACTIONS),
    st.sampled_from(["", "*/a/**", IMAGE]),
    st.sampled_from(["", "a/*", "a-b/c.d"]),
    st.sampled_from(["", "**", ROLE, "node"]),
    MOMENTS_S,
    st.none() | MOMENTS_S,
    st.none() | MOMENTS_S,
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    st.booleans(),
)


@given(ORDERS)
def test_what_is_written_is_read_again(order: orders.Order) -> None:
    """And what is written is an order of the schema."""
    document = order_form.encode(order)
    assert ORDER.is_valid(document)
    assert order_form.decode(strict.parse(to_json(document).encode()), remote=order.remote) == order


@given(st.lists(ORDERS, max_size=4, unique_by=lambda order: order.id))
def test_a_set_that_is_written_is_read_again(found: list[orders.Order]) -> None:
    """All of them remote then."""
    document = order_form.encode_list(found)
    assert ORDER_LIST.is_valid(document)
    read = order_form.decode_list(strict.parse(to_json(document).encode()))
    assert read == tuple(order._replace(remote=True) for order in found)


# --- matching


def model(glob: str, text: str) -> bool:
    """A glob as an expression: `**` is at least one segment at the end, any number elsewhere."""
    pattern, segments = "", glob.split("/")
    for place, segment in enumerate(segments):
        last = place == len(segments) - 1
        if segment == "**":
            pattern += "[^/]+(/[^/]+)*" if last else "([^/]+/)*"
        else:
            pattern += "[^/]*".join(map(re.escape, segment.split("*"))) + ("" if last else "/")
    return re.fullmatch(pattern, text) is not None


PLACES = st.sampled_from(["r.test/a", "r.test/a/b", "r.test/b", "s.test/a", "r.test/a/b/a"])
WHO = st.sampled_from([("a", "a"), ("a", "b"), ("b", "a"), ("", "")])
AS_WHOM = st.sampled_from(["arn:x:role/a", "arn:x:role/a/b", "node", "anonymous"])


@given(
    st.sampled_from(["", "*/a", "**/a", "r.test/**", "*/**/b", "r.test/a", "r.test/*/*"]),
    st.sampled_from(["", "a/*", "*/a", "*/*", "b/b"]),
    st.sampled_from(["", "*", "**", "arn:*/*", "*/a/*", "node"]),
    st.tuples(WHO, PLACES, AS_WHOM),
)
def test_a_match_is_what_the_model_says(
    image_glob: str, account_glob: str, identity_glob: str, request: tuple[tuple[str, str], str, str]
) -> None:
    """All globs, joined by and; no glob of service accounts matches a request without a token."""
    who, image, identity = request
    order = orders.Order(
        "o", "block", image_glob, account_glob, identity_glob, 0.0, None, None, "why", "who", remote=False
    )
    expected = (
        (not image_glob or model(image_glob, image))
        and (not account_glob or (who != ("", "") and model(account_glob, "/".join(who))))
        and (not identity_glob or model(identity_glob, identity))
    )
    assert orders.matches(order, *who, image, identity) is expected

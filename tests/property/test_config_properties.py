"""The configuration, whatever is in it: an answer or the configuration's own error, and one that keeps to one line."""

from __future__ import annotations

import copy
import re
import tempfile
import tomllib
import typing
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from configurations import TOML
from pullpass import config
from pullpass.config import Alias, ApprovalTimes, Audit, Config, Ecr, Gcr, Grant, Node, Paths, compiled, schema
from pullpass.config.checks import duration_ns
from pullpass.errors import BAD_INPUT, PullpassError

EXAMPLES = Path(__file__).parents[2] / "config"
TEXT = re.sub(r"^# (\w+ = .+)$", r"\1", (EXAMPLES / "pullpass.toml").read_text(), flags=re.MULTILINE)
DOCUMENT = tomllib.loads(TEXT)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every position in a document, as the steps to it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for step, inner in items for place in [(*at, step), *places(inner, (*at, step))]]


def leaves(value: Any) -> list[Any]:
    """Every value that is no table or array."""
    if isinstance(value, dict | list):
        return [leaf for inner in (value.values() if isinstance(value, dict) else value) for leaf in leaves(inner)]
    return [value]


# What TOML can hold. A tidy text is likelier to get far than a wild one, and a value of another key likelier still.
scalars = st.one_of(
    st.sampled_from(leaves(DOCUMENT)),
    st.sampled_from(
        ["", "0", "1h", "9999999d", "*", "**", "node", "principal", "gcr.io/**", "arn:aws:iam::", "a/b", "{namespace}"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.datetimes() | st.dates() | st.times(),
)
keys = st.sampled_from([str(place[-1]) for place in places(DOCUMENT)]) | st.text(max_size=10)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=8
)


def outcome(document: dict[str, Any]) -> Config | None:
    """The configuration, or None where it is refused as it should be."""
    try:
        return schema.check(document, "config.toml")
    except PullpassError as error:
        assert_told(error)
        return None


def assert_told(error: PullpassError) -> None:
    """The error is the configuration's, names the file, and is one printable line of bounded length."""
    assert error.code == "config-invalid"
    assert error.status == BAD_INPUT
    assert "config.toml" in error.what
    assert error.line().isprintable()
    assert len(error.line()) < 2048


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """The example with some values taken out, put in or exchanged."""
    document = copy.deepcopy(DOCUMENT)
    for _ in range(draw(st.integers(1, 3))):
        *steps, last = draw(st.sampled_from(places(document)))
        holder: Any = document
        for step in steps:
            holder = holder[step]
        what = draw(st.sampled_from(["replace", "remove", "add"]))
        if what == "replace":
            holder[last] = draw(values)
        elif what == "remove":
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw(keys)] = draw(values)
        else:
            holder.insert(last, draw(values))
        if not places(document):
            break
    return document


@given(st.dictionaries(keys, values))
def test_any_document_is_answered(document: dict[str, Any]) -> None:
    """Made of arbitrary keys and values, it is refused by the configuration's own error."""
    outcome(document)


@settings(max_examples=400)
@given(mutated())
def test_a_mutated_example_is_answered(document: dict[str, Any]) -> None:
    """With values of the right and of the wrong kind in the wrong place, it is accepted or refused properly."""
    before = copy.deepcopy(document)
    outcome(document)
    assert repr(document) == repr(before), "checking changes nothing in the document"


def filled(kind: type, **given_fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Records of a kind with something of the right type in every field."""
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{name: st.from_type(hint) for name, hint in hints.items()} | given_fields)


for record in (Alias, Grant, Paths, Ecr, Gcr):  # each after those that it holds
    st.register_type_strategy(record, filled(record))
seconds = st.floats(0, 1e9)
configurations = filled(
    Config,
    node=filled(Node, deadline_s=seconds),
    approval=filled(ApprovalTimes, **dict.fromkeys(ApprovalTimes._fields, seconds)),
    audit=filled(Audit, keep_s=seconds),
)


@given(configurations)
def test_every_configuration_survives_compiling(written: Config) -> None:
    """A configuration is the same after it was written and read back, types included."""
    with tempfile.TemporaryDirectory() as directory:
        source, runtime = Path(directory, "config.toml"), str(Path(directory, "run"))
        source.touch()
        compiled.write(str(source), runtime, source.stat(), written)
        read = compiled.read(str(source), runtime)
        assert repr(read) == repr(written)
        assert read == written


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The example's bytes with a piece cut out, doubled or overwritten."""
    data = TEXT.encode()
    start = draw(st.integers(0, len(data) - 1))
    end = draw(st.integers(start, min(len(data), start + 40)))
    piece = draw(
        st.binary(max_size=8) | st.sampled_from([b'"', b"[", b"]]", b"\n", b"=", b"{", b"\\u0000", b"'''", b""])
    )
    return data[:start] + piece + data[end:]


@given(damaged() | st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_file_is_answered(data: bytes) -> None:
    """Any bytes are a configuration or the configuration's own error, and nothing else comes out."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "config.toml")
        source.write_bytes(data)
        source.chmod(0o600)
        try:
            config.load(str(source))
        except PullpassError as error:
            assert_told(error)


@given(st.binary() | st.integers(0, 10_000).map(lambda cut: b"cut %d" % cut))
def test_any_compiled_form_is_answered(data: bytes) -> None:
    """Whatever stands in its place, and wherever it is cut, a run gets the source's configuration."""
    with tempfile.TemporaryDirectory() as directory:
        source, runtime = Path(directory, "config.toml"), Path(directory, "run")
        source.write_text(TOML.format(runtime=runtime))
        source.chmod(0o600)
        expected = config.load(str(source), runtime=str(runtime))
        form = runtime / compiled.NAME
        cut = data.removeprefix(b"cut ")
        form.write_bytes(form.read_bytes()[: int(cut)] if cut != data else data)
        assert config.load(str(source), runtime=str(runtime)) == expected


UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
numbers = st.from_regex(r"[0-9]{1,6}(\.[0-9]{0,6})?|\.[0-9]{1,6}", fullmatch=True)


@given(st.lists(st.tuples(numbers, st.sampled_from(sorted(UNITS))), min_size=1, max_size=3))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[str, str]]) -> None:
    """Each part is cut to whole nanoseconds, and nothing is lost in between."""
    text = "".join(number + unit for number, unit in parts)
    total = sum(int(Fraction("0" + number.removesuffix(".")) * UNITS[unit]) for number, unit in parts)
    assert duration_ns(text) == total

"""What stands in for `typing`, `json` and `hashlib`: examples, and interpreters that lack the C modules.

That it does what they do, whatever the input, is tests/property/test_lean_properties.py.
"""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pullpass import lean as used
from variants import SMALL, each_variant

ROOT = Path(__file__).resolve().parents[2]


class Pod(used.NamedTuple):
    """A pod."""

    name: str
    node: str = "node-1"

    @property
    def place(self) -> str:
        """Where it is."""
        return f"{self.name}@{self.node}"


class Named(Pod):
    """A class below one with fields: it may add methods."""

    def shout(self) -> str:
        """Louder."""
        return self.name.upper()


def make(lean: Any) -> Any:
    """The same class of any variant."""

    class Pod(lean.NamedTuple):  # type: ignore[misc]
        """A pod."""

        name: str
        node: str = "node-1"

    return Pod


# --- named tuples


def test_a_class_keeps_what_is_no_field() -> None:
    """Documentation, methods, properties."""
    assert Pod.__doc__ == "A pod."
    assert (Pod._fields, Pod._field_defaults) == (("name", "node"), {"node": "node-1"})
    assert Pod("a").place == "a@node-1"
    assert Pod.__module__ == __name__
    assert isinstance(Pod("a"), tuple)


def test_a_class_below_one_with_fields_has_the_same() -> None:
    """As with `typing`: what it adds are methods, and its own annotations are no fields."""
    assert (Named._fields, Named._field_defaults) == (Pod._fields, Pod._field_defaults)
    named = Named("a", node="b")
    assert (named, named.place, named.shout()) == (("a", "b"), "a@b", "A")
    assert type(named._replace(name="c")) is Named


@each_variant
def test_a_field_is_documented_by_its_name(lean: Any) -> None:
    """For `help`."""
    assert make(lean).name.__doc__ == "name"


@each_variant
def test_a_tuple_can_not_be_changed(lean: Any) -> None:
    """Neither a field nor anything else: it has no dictionary."""
    pod = make(lean)("a")
    for name in ("name", "node", "other"):
        with pytest.raises(AttributeError):
            setattr(pod, name, "x")
        with pytest.raises(AttributeError):
            delattr(pod, name)
    assert not hasattr(pod, "__dict__")
    assert pod == ("a", "node-1")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_tuple_can_be_pickled(protocol: int) -> None:
    """With its class."""
    again = pickle.loads(pickle.dumps(Pod("a", "b"), protocol))  # noqa: S301 - what this line has written
    assert type(again) is Pod
    assert again == Pod("a", "b")


@each_variant
def test_a_tuple_can_be_copied(lean: Any) -> None:
    """Flat or deep, with its class."""
    pod = make(lean)(["a"], "b")
    flat, deep = copy.copy(pod), copy.deepcopy(pod)
    assert type(flat) is type(deep) is type(pod)
    assert flat == deep == pod
    assert flat.name is pod.name
    assert deep.name is not pod.name


@each_variant
def test_the_error_names_the_fields(lean: Any) -> None:
    """What is missing, or all that there are."""
    with pytest.raises(TypeError, match=r"^Pod also needs name$"):
        make(lean)(node="b")
    calls: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("a", "b", "c"), {}),
        (("a",), {"name": "b"}),
        (("a",), {"other": "b"}),
        ((), {"node": "a", "other": "b"}),  # as many as there are, and one of them another
    ]
    for values, named in calls:
        with pytest.raises(TypeError, match=r"^Pod takes name, node, each once$"):
            make(lean)(*values, **named)
    with pytest.raises(TypeError, match=r"^Pod takes name, node, each once$"):
        make(lean)("a")._replace(other="b")


# --- JSON


@each_variant
def test_what_is_no_json_has_the_errors_of_json(lean: Any) -> None:
    """Its class too: callers read the place and the reason from it."""
    for text in ("", "]", '{"a"', '"\n"', "[1,", '"\\x"'):
        with pytest.raises(json.JSONDecodeError) as theirs:
            json.JSONDecoder().raw_decode(text, 0)
        with pytest.raises(json.JSONDecodeError) as ours:
            lean.JsonReader().read(text, 0)
        assert (ours.value.msg, ours.value.pos, ours.value.doc) == (theirs.value.msg, theirs.value.pos, text)


@each_variant
def test_hooks_are_called(lean: Any) -> None:
    """All four of them; they may refuse by an error of their own."""
    reader = lean.JsonReader(list, lambda text: f"i{text}", lambda text: f"f{text}", lambda text: f"c{text}")
    text = '{"a": 1, "a": 2.5, "b": [NaN, Infinity, -Infinity, true, null]}'
    assert reader.read(text, 0) == (
        [("a", "i1"), ("a", "f2.5"), ("b", ["cNaN", "cInfinity", "c-Infinity", True, None])],
        len(text),
    )

    def refuse(text: str) -> None:
        raise LookupError(text)

    with pytest.raises(LookupError, match="NaN"):
        lean.JsonReader(parse_constant=refuse).read("[NaN]", 0)


@each_variant
@pytest.mark.parametrize("value", [1.5, float("nan"), b"", set(), object(), {1: 2}, {None: 1}, {b"a": 1}, 1j])
def test_what_has_no_place_in_our_files_is_refused(lean: Any, value: object) -> None:
    """At any depth; `json.dumps` would write some of it, and keys that are no texts as texts."""
    for document in (value, [value], {"a": value}, ["a", ({"b": [value]},)]):
        with pytest.raises(TypeError):
            lean.to_json(document)


# --- other interpreters


def test_all_of_this_holds_where_nothing_is_there_in_c() -> None:
    """A process that can't import them runs these tests, and the properties, once more.

    Only there is everything in Python: in this process `json` has loaded its C half long before.
    """
    program = (
        "import sys\n"
        f"small = {SMALL}\n"
        "sys.modules.update(dict.fromkeys(small[:-1]))\n"  # None: an import of it fails
        "import pytest\n"
        "sys.modules[small[-1]] = None\n"  # the standard library itself can't do without it
        "sys.exit(pytest.main(sys.argv[1:]))\n"
    )
    files = ["tests/unit/test_lean.py", "tests/property/test_lean_properties.py"]
    options = ["-q", "-p", "no:cacheprovider", "--deselect", f"{files[0]}::{sys._getframe().f_code.co_name}"]
    done = subprocess.run(
        [sys.executable, "-c", program, *options, *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_a_bare_interpreter_without_them_reads_and_hashes() -> None:
    """The flags are a launcher's; the fronts come along instead."""
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({SMALL}))\n"
        f"sys.path.append({str(Path(used.__file__).parents[1])!r})\n"
        "from pullpass.store import digest, strict\n"
        "from pullpass.lean import to_json\n"
        'document = strict.parse(b\'{"a": [1, 2.5, "\\\\u20ac"]}\')\n'
        "assert {'json.decoder', 'hashlib', 'operator'} <= set(sys.modules)\n"
        "print(to_json(sorted(document)), document['a'][2] == '\\u20ac', digest.sha256_hex(b'abc')[:8])\n"
    )
    done = subprocess.run([sys.executable, "-IS", "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ('["a"] True ba7816bf\n', "")

"""The compiled form: when it is used, and that nothing about it is ever an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import pullpass
from configurations import TOML, Place
from pullpass import config
from pullpass.config import compiled, source

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place with a configuration that is fine, and nothing compiled."""
    return Place(tmp_path)


# --- the compiled form


def test_compiling_and_reading_back_are_one(place: Place) -> None:
    """The compiled form is private, and says the same as the source."""
    first = place.load()
    assert place.compiled.stat().st_mode & 0o7777 == 0o600
    assert place.runtime.stat().st_mode & 0o7777 == 0o700
    assert place.load() == first == config.load(str(place.file))
    assert first.grants[0].allow == ("arn:aws:iam::111122223333:role/{namespace}/*",)
    assert list(place.runtime.iterdir()) == [place.compiled]


def edit(place: Place, **changes: Any) -> None:
    """Change the compiled form on disk, its stamp untouched."""
    document = place.stored()
    document["config"][0][0] = changes.pop("cluster", document["config"][0][0])
    place.compiled.write_text(json.dumps(document | changes))


def test_a_hit_reads_the_compiled_form_alone(place: Place) -> None:
    """What stands in the compiled form is what a run gets: the source is not parsed again."""
    place.load()
    edit(place, cluster="from-the-compiled-form")
    assert place.load().node.cluster == "from-the-compiled-form"
    assert config.load(str(place.file)).node.cluster == "prod-1"


def test_without_a_runtime_directory_nothing_is_kept(place: Place) -> None:
    """People's commands parse the source and write nothing."""
    config.load(str(place.file))
    assert not place.runtime.exists()


def touch(place: Place) -> None:
    """A later mtime."""
    status = place.file.stat()
    os.utime(place.file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def rewrite_quietly(place: Place) -> None:
    """Another content of the same size under the same mtime; only the ctime tells."""
    status = place.file.stat()
    place.file.write_text(place.file.read_text().replace("prod-1", "prod-2"))
    os.utime(place.file, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(place: Place) -> None:
    """Another file of the same size and mtime in its place."""
    status = place.file.stat()
    other = place.file.with_suffix(".new")
    other.write_bytes(place.file.read_bytes())
    other.chmod(0o644)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(place.file)


def append(place: Place) -> None:
    """One more byte."""
    place.write(place.file.read_text() + "#")


def move(place: Place) -> None:
    """The same file under another name."""
    place.file = place.file.rename(place.file.with_name("moved.toml"))


@pytest.mark.parametrize("change", [touch, rewrite_quietly, replace, append, move])
def test_any_change_of_the_source_compiles_again(place: Place, change: Any) -> None:
    """Whatever tells one state of the source from another voids the compiled form, and a new one takes its place."""
    place.load()
    edit(place, cluster="old")
    change(place)
    expected = "prod-2" if change is rewrite_quietly else "prod-1"
    assert place.load().node.cluster == expected
    edit(place, cluster="new")
    assert place.load().node.cluster == "new"


def test_another_version_compiles_again(place: Place) -> None:
    """The stamp holds the program's version."""
    place.load()
    stamp = place.stored()["stamp"]
    assert stamp[0] == pullpass.__version__
    edit(place, cluster="old", stamp=["0.0.0", *stamp[1:]])
    assert place.load().node.cluster == "prod-1"
    assert place.stored()["stamp"] == stamp


DAMAGED = {
    "not there": None,
    "empty": b"",
    "no JSON": b"\x00\xff",
    "nested": b"[" * 100_000,
    "an array": b"[]",
    "without a stamp": b"{}",
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_form_is_compiled_again(place: Place, data: bytes | None) -> None:
    """Never an error, whatever is in the file."""
    expected = place.load()
    place.compiled.unlink()
    if data is not None:
        place.compiled.write_bytes(data)
    assert place.load() == expected
    assert place.stored()["config"][0][0] == "prod-1"


def places(value: Any, at: tuple[int, ...] = ()) -> Any:
    """Every position in nested arrays."""
    yield at
    for index, inner in enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*at, index))


def test_every_value_of_the_form_is_checked(place: Place) -> None:
    """Each value of another type, and each array that is cut short, makes the form "not there"."""
    expected = place.load()
    original = place.stored()
    tried = 0
    for at in places(original["config"]):
        document = json.loads(json.dumps(original))
        holder, index = document, "config"
        for step in at:
            holder, index = holder[index], step
        value = holder[index]
        wrongs: list[Any] = [{}, 1.5 if isinstance(value, int) else 1]
        if isinstance(value, list) and value and not isinstance(value[0], str):
            wrongs.append([*value, 0])
        for wrong in wrongs:
            holder[index] = wrong
            place.compiled.write_text(json.dumps(document))
            assert compiled.read(str(place.file), str(place.runtime)) is None, (at, wrong)
            tried += 1
    assert tried > 100
    place.compiled.write_text(json.dumps(original))
    assert compiled.read(str(place.file), str(place.runtime)) == expected


@pytest.mark.parametrize("cut", [1, 100, -1])
def test_a_form_that_is_cut_short_is_compiled_again(place: Place, cut: int) -> None:
    """A part of the file is no file."""
    expected = place.load()
    place.compiled.write_bytes(place.compiled.read_bytes()[:cut])
    assert place.load() == expected


def test_a_form_that_others_may_write_is_not_used(place: Place) -> None:
    """Its content is worth what its mode is worth; a new one takes its place."""
    place.load()
    edit(place, cluster="planted")
    place.compiled.chmod(0o666)
    assert place.load().node.cluster == "prod-1"
    assert place.compiled.stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("kind", ["open to others", "a link"])
def test_a_form_in_a_directory_that_is_not_ours_is_not_used(place: Place, kind: str) -> None:
    """Whoever may write the directory can move another file of root's into it, one that was never compiled."""
    place.load()
    edit(place, cluster="planted")
    assert place.load().node.cluster == "planted"
    if kind == "a link":
        moved = place.runtime.with_name("moved")
        place.runtime.rename(moved)
        place.runtime.symlink_to(moved)
    else:
        place.runtime.chmod(0o777)
    assert place.load().node.cluster == "prod-1"


def test_a_link_in_place_of_the_form_is_not_followed(place: Place, tmp_path: Path) -> None:
    """A link is replaced, and what it points to stays as it is."""
    place.load()
    edit(place, cluster="planted")
    elsewhere = tmp_path / "elsewhere"
    place.compiled.rename(elsewhere)
    before = elsewhere.read_bytes()
    place.compiled.symlink_to(elsewhere)
    assert place.load().node.cluster == "prod-1"
    assert not place.compiled.is_symlink()
    assert elsewhere.read_bytes() == before


@pytest.mark.parametrize(
    "obstacle", ["a file", "a link", "open to others", "no such parent", "a directory in its place"]
)
def test_a_runtime_directory_that_cannot_be_used_is_no_error(place: Place, tmp_path: Path, obstacle: str) -> None:
    """Every run works from the TOML then, and leaves what is there alone."""
    if obstacle == "a file":
        place.runtime.write_text("mine")
    elif obstacle == "a link":
        (tmp_path / "elsewhere").mkdir(0o700)
        place.runtime.symlink_to("elsewhere")
    elif obstacle == "open to others":
        place.runtime.mkdir()
        place.runtime.chmod(0o777)
    elif obstacle == "no such parent":
        (tmp_path / "parent").write_text("a file")
        place.runtime = tmp_path / "parent" / "run"
        place.write(TOML.format(runtime=place.runtime))
    else:
        place.compiled.mkdir(parents=True, mode=0o700)
        place.runtime.chmod(0o700)
    for _ in range(2):
        assert place.load().node.cluster == "prod-1"
    left = list(place.runtime.iterdir()) if place.runtime.is_dir() else []
    assert left == ([place.compiled] if obstacle == "a directory in its place" else [])


def test_an_invalid_change_does_not_fall_back(place: Place) -> None:
    """The last good configuration is not used when the file has become invalid, and is kept out of the way."""
    place.load()
    place.write(TOML.format(runtime=place.runtime).replace("prod-1", "Prod 1", 1))
    for _ in range(2):
        assert place.refused(runtime=True).what.startswith(f'{place.file}: node.cluster is "Prod 1"')


def test_a_runtime_directory_that_moved_says_install_again(place: Place, tmp_path: Path) -> None:
    """A launcher that was installed for another directory is told so, and nothing is written to either."""
    moved = tmp_path / "elsewhere"
    place.write(TOML.format(runtime=moved))
    error = place.refused(runtime=True)
    assert error.code == "config-runtime-moved"
    assert error.what == f"{place.file}: paths.runtime is {moved}, and this launcher was installed for {place.runtime}"
    assert "pullpass install" in error.hint
    assert not place.runtime.exists()
    assert not moved.exists()


def test_the_stamp_is_of_what_was_read(place: Place) -> None:
    """A change after the file was read is seen by the next run, because the stamp is the older state's."""
    _, status = source.read(str(place.file))
    old = config.load(str(place.file))
    place.write(TOML.format(runtime=place.runtime).replace("prod-1", "prod-2"))
    compiled.write(str(place.file), str(place.runtime), status, old)
    assert place.load().node.cluster == "prod-2"


HEAVY = {
    "argparse",
    "dataclasses",
    "datetime",
    "ipaddress",
    "logging",
    "pathlib",
    "pullpass.config.checks",
    "pullpass.config.schema",
    "pullpass.config.source",
    "tomllib",
    "urllib",
}
HIT = """\
import sys
from pullpass import config
print(config.load(sys.argv[1], runtime=sys.argv[2]).node.cluster, *sys.modules)
"""


def test_a_hit_imports_nothing_heavy(place: Place) -> None:
    """With the compiled form in place no TOML reader, checker or other dear module is imported."""
    place.load()
    libraries = [path for path in sys.path if path]
    script = f"import sys\nsys.path[:0] = {libraries!r}\n{HIT}"
    command = [sys.executable, "-IS", "-c", script, str(place.file), str(place.runtime)]
    cluster, *modules = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert cluster == "prod-1"
    assert "pullpass.config.compiled" in modules
    assert not HEAVY & set(modules)
    place.compiled.unlink()
    assert "tomllib" in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

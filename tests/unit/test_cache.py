"""The credential cache: what is kept opens again, and every damage is a miss that says why."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pullpass.cache import cipher, disk
from pullpass.errors import PullpassError
from pullpass.exchange import Credential
from pullpass.secret import Secret
from support import NOW_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOMEBODY = 12345
KEY, OTHER = "ab" * 32, "cd" * 32
CREDENTIAL = Credential(
    "AWS", Secret("the pass\u2028word"), NOW_S + 43200.25, NOW_S + 3600.000001, "arn:aws:sts", "ASIA", ("r-1", "r-2")
)
SECOND = CREDENTIAL._replace(secret=Secret("the second"))
UNOPENED = "does not open: changed, cut short, an older one, or another key's"


@pytest.fixture(name="runtime")
def _runtime(tmp_path: Path) -> Path:
    """A runtime directory with a cache."""
    disk.directory(str(tmp_path / "runtime"))
    return tmp_path / "runtime"


@pytest.fixture(name="path")
def _path(runtime: Path) -> Path:
    """The entry of `KEY`, kept at `NOW_S`."""
    disk.put(str(runtime), KEY, NOW_S, CREDENTIAL)
    return runtime / "cache" / KEY


def get(runtime: Path, key: str = KEY, validated_s: float = NOW_S) -> Credential | None:
    """What is kept."""
    return disk.get(str(runtime), key, validated_s)


def damage(runtime: Path, key: str = KEY, validated_s: float = NOW_S) -> str:
    """Why an entry does not open."""
    with pytest.raises(disk.DamagedError) as caught:
        get(runtime, key, validated_s)
    assert str(caught.value) == caught.value.what
    assert not caught.value.foreign
    return caught.value.what


# --- what is kept


def test_what_is_kept_opens_again(runtime: Path, path: Path) -> None:
    """Every member, to the microsecond."""
    assert get(runtime) == CREDENTIAL
    assert get(runtime).secret.reveal() == "the pass\u2028word"  # type: ignore[union-attr]
    disk.put(str(runtime), KEY, NOW_S + 60, SECOND)
    assert get(runtime, validated_s=NOW_S + 60) == SECOND


def test_there_may_be_nothing(runtime: Path) -> None:
    """Without an entry, or without the directory, after a reboot."""
    assert get(runtime) is None
    (runtime / "cache").rmdir()
    assert get(runtime) is None
    (runtime / "cache").write_text("no directory")
    assert get(runtime) is None


def test_the_files_are_the_callers_alone(runtime: Path, path: Path) -> None:
    """Directory, entry and key; no temporary file stays."""
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in [*runtime.iterdir(), path]}
    assert modes == {"cache": 0o700, "cache.key": 0o600, KEY: 0o600}
    assert len((runtime / "cache.key").read_bytes()) == 32


def test_the_file_holds_no_plain_text(path: Path) -> None:
    """Neither the password nor anything else that is kept; and no two files of the same are alike."""
    raw = path.read_bytes()
    assert raw.startswith(b"pullpass-cache 1\n")
    for text in ("the pass", "AWS", "ASIA", "arn", "username", "secret", KEY):
        assert text.encode() not in raw
    disk.put(str(path.parents[1]), KEY, NOW_S, CREDENTIAL)
    assert path.read_bytes()[17:29] != raw[17:29]


def test_the_cipher_is_the_librarys_public_one() -> None:
    """It is taken from where the library keeps it, which is quicker; what is kept is plain AES-256-GCM."""
    assert cipher.AESGCM is AESGCM
    assert isinstance(cipher.make(bytes(32)), AESGCM)


@pytest.mark.parametrize("inner", [None, object()], ids=["no module", "another module"])
def test_a_library_that_keeps_it_elsewhere_is_asked_by_its_public_name(
    inner: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of our module, made while the library's inner one can't be imported or lacks the name."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.bindings._rust", inner)
    spec = importlib.util.spec_from_file_location("pullpass.cache.cipher", cipher.__file__)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    assert copy.AESGCM is AESGCM


# --- damages


def test_an_entry_that_is_cut_at_any_byte_is_damaged(runtime: Path, path: Path) -> None:
    """In the header, the nonce, the data or the tag."""
    raw = path.read_bytes()
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        assert damage(runtime) == (UNOPENED if length >= len(disk.HEADER) else "is no cache entry of this version")


def test_an_entry_with_one_bit_changed_is_damaged(runtime: Path, path: Path) -> None:
    """Any bit behind the header, and none of them shows the credential."""
    raw = path.read_bytes()
    for at in range(len(disk.HEADER), len(raw)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ (1 << at % 8)]) + raw[at + 1 :])
        assert damage(runtime) == UNOPENED


def test_an_older_entry_of_the_key_does_not_open(runtime: Path, path: Path) -> None:
    """Somebody puts a copy back: it belongs to an approval that is no more."""
    older = path.read_bytes()
    disk.put(str(runtime), KEY, NOW_S + 0.000001, SECOND)
    path.write_bytes(older)
    assert damage(runtime, validated_s=NOW_S + 0.000001) == UNOPENED


def test_the_entry_of_another_key_does_not_open(runtime: Path, path: Path) -> None:
    """Two entries swapped: neither workload gets the other's credential."""
    disk.put(str(runtime), OTHER, NOW_S, SECOND)
    other = path.with_name(OTHER)
    one, two = path.read_bytes(), other.read_bytes()
    path.write_bytes(two)
    other.write_bytes(one)
    assert damage(runtime) == damage(runtime, OTHER) == UNOPENED


def test_an_entry_of_another_node_does_not_open(runtime: Path, path: Path, tmp_path: Path) -> None:
    """It was made under that node's key."""
    elsewhere = tmp_path / "elsewhere"
    disk.directory(str(elsewhere))
    disk.put(str(elsewhere), KEY, NOW_S, SECOND)
    path.write_bytes((elsewhere / "cache" / KEY).read_bytes())
    assert damage(runtime) == UNOPENED


@pytest.mark.parametrize(
    ("written", "what"),
    [
        (b"", "is no cache entry of this version"),
        (b"\0" * 200, "is no cache entry of this version"),
        (b"x" * (disk.LIMIT_BYTES + 1), f"can't be read: longer than {disk.LIMIT_BYTES} bytes"),
        (disk.HEADER, UNOPENED),
    ],
    ids=["empty", "zeros", "too long", "header alone"],
)
def test_what_is_no_entry_is_damaged_and_replaced(written: bytes, what: str, runtime: Path, path: Path) -> None:
    """The next exchange puts a good one in its place."""
    path.write_bytes(written)
    assert damage(runtime) == what
    disk.put(str(runtime), KEY, NOW_S, SECOND)
    assert get(runtime) == SECOND


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_an_entry_that_others_may_write_is_damaged(mode: int, runtime: Path, path: Path) -> None:
    """They may have put it there."""
    path.chmod(mode)
    assert damage(runtime) == "belongs to somebody else, or others may write it"


@pytest.mark.needs("root")
def test_an_entry_of_somebody_else_is_damaged(runtime: Path, path: Path) -> None:
    """Whatever its mode."""
    os.chown(path, SOMEBODY, -1)
    assert damage(runtime) == "belongs to somebody else, or others may write it"


def test_what_is_no_file_is_damaged(runtime: Path, path: Path) -> None:
    """A link is replaced and not followed, a fifo is not waited for; a directory stays in the way."""
    path.rename(path.with_name("kept"))
    path.symlink_to("kept")
    assert damage(runtime) == "can't be read: Too many levels of symbolic links"
    disk.put(str(runtime), KEY, NOW_S, SECOND)
    assert get(runtime) == SECOND
    path.unlink()
    os.mkfifo(path)
    assert damage(runtime) == "can't be read: not a regular file"
    path.unlink()
    path.mkdir()
    assert damage(runtime) == "can't be read: not a regular file"
    with pytest.raises(IsADirectoryError):
        disk.put(str(runtime), KEY, NOW_S, SECOND)
    with pytest.raises(OSError, match=r"Is a directory|not permitted"):
        disk.drop(str(runtime), KEY)


def test_an_entry_of_another_version_is_left_alone(runtime: Path, path: Path) -> None:
    """Two versions of the program on one directory: the other one still needs it."""
    foreign = b"pullpass-cache 2\nwhatever"
    path.write_bytes(foreign)
    uses: tuple[Callable[[], object], ...] = (
        partial(get, runtime),
        partial(disk.put, str(runtime), KEY, NOW_S, SECOND),
    )
    for use in uses:
        with pytest.raises(disk.DamagedError) as caught:
            use()
        assert (caught.value.what, caught.value.foreign) == ("is no cache entry of this version", True)
        assert path.read_bytes() == foreign


def right() -> dict[str, Any]:
    """What an entry's file has inside."""
    return {
        "username": "AWS", "secret": "x", "registryExpires": "2027-01-15T09:00:00Z",
        "sessionExpires": "2027-01-15T09:00:00Z", "principal": "", "accessKeyId": "", "requestIds": ["r"],
    }  # fmt: skip


def without(name: str) -> dict[str, Any]:
    """The same but for one member."""
    return {other: value for other, value in right().items() if other != name}


WRONG: dict[str, object] = {
    **{f"no {name}": without(name) for name in right()},
    **{f"null {name}": right() | {name: None} for name in right()},
    "no moment": right() | {"registryExpires": "later"},
    "a number among the ids": right() | {"requestIds": [1]},
    "an array": [right()],
    "a text": "x",
}


def planted(runtime: Path, data: bytes) -> None:
    """Write an entry that opens."""
    key = (runtime / "cache.key").read_bytes()
    bound = disk.HEADER + f"{KEY}\n2027-01-15T08:00:00.000000Z".encode()
    sealed = AESGCM(key).encrypt(bytes(12), data, bound)
    (runtime / "cache" / KEY).write_bytes(disk.HEADER + bytes(12) + sealed)


def test_the_form_of_an_entry_is_pinned(runtime: Path, path: Path) -> None:
    """Header, nonce, AES-256-GCM; bound to header, key and the moment of the exchange."""
    planted(runtime, json.dumps(right()).encode())
    assert get(runtime) == Credential("AWS", Secret("x"), NOW_S + 3600, NOW_S + 3600, "", "", ("r",))


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_opens_and_is_no_credential_is_damaged(wrong: object, runtime: Path, path: Path) -> None:
    """Nothing is guessed: a password of `None` would be tried against the registry."""
    planted(runtime, json.dumps(wrong).encode())
    assert damage(runtime) == "holds no credential"


def test_what_opens_and_is_no_document_is_damaged(runtime: Path, path: Path) -> None:
    """It is read as strictly as everything else."""
    planted(runtime, b'{"username":1,"username":2}')
    assert damage(runtime) == "holds no credential"


# --- dropping, and the directory


def test_what_was_dropped_is_gone(runtime: Path, path: Path) -> None:
    """And dropping what is not there is none of anybody's business."""
    disk.drop(str(runtime), KEY)
    assert not path.exists()
    disk.drop(str(runtime), KEY)
    (runtime / "cache").rmdir()
    disk.drop(str(runtime), KEY)
    (runtime / "cache").write_text("no directory")
    disk.drop(str(runtime), KEY)


def test_a_directory_that_others_may_change_is_refused(tmp_path: Path) -> None:
    """They could swap entries all day."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(PullpassError) as caught:
        disk.directory(str(tmp_path))
    assert caught.value.code == "state-path"


def test_who_only_looks_makes_no_directory(tmp_path: Path) -> None:
    """And finds nothing."""
    assert disk.directory(str(tmp_path / "runtime"), make=False) == str(tmp_path / "runtime" / "cache")
    assert list(disk.names(str(tmp_path / "runtime"))) == []
    assert not list(tmp_path.iterdir())


def test_the_names_are_those_of_the_entries(runtime: Path, path: Path) -> None:
    """Not those of temporary files."""
    (path.parent / ".x.1.ab.tmp").write_text("half")
    assert list(disk.names(str(runtime))) == [KEY]

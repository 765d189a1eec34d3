"""Approvals on disk: found or not believed, stored in one step, and whether one stands."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

import tracing
from factories import make_approval, make_config
from pullpass import approvals
from pullpass.approvals import (
    AHEAD,
    DENIED,
    EXPIRED,
    LIVING,
    REMEMBERED,
    VOIDED,
    Approval,
    UnreadableError,
    codec,
)
from pullpass.errors import PullpassError
from pullpass.store.strict import DocumentError
from support import NOW_S

SOMEBODY = 12345
APPROVAL = make_approval()
KEY = APPROVAL.key
RAW = codec.render(APPROVAL)
TIMES = make_config().approval
LIBRARY = str(Path(approvals.__file__).parents[2])


@pytest.fixture(name="place")
def _place(tmp_path: Path) -> Path:
    """A directory of approvals."""
    return Path(approvals.directory(str(tmp_path / "state")))


@pytest.fixture(name="path")
def _path(place: Path) -> Path:
    """The approval's file, stored."""
    approvals.save(str(place), APPROVAL)
    return place / f"{KEY}.json"


def damage(path: Path) -> str:
    """Why what is there is not the approval."""
    with pytest.raises(UnreadableError) as caught:
        approvals.find(str(path.parent), KEY)
    assert str(caught.value) == caught.value.what
    return caught.value.what


# --- the directory


def test_the_directory_is_made_for_the_caller_alone(tmp_path: Path) -> None:
    """With the state directory above it, and again without harm."""
    for _ in range(2):
        place = Path(approvals.directory(str(tmp_path / "state")))
        assert place == tmp_path / "state" / "approvals"
        assert [stat.S_IMODE(path.lstat().st_mode) for path in (place, place.parent)] == [0o700, 0o700]


def test_a_directory_that_others_may_change_is_refused(tmp_path: Path) -> None:
    """They could put an approval there."""
    (tmp_path / "state" / "approvals").mkdir(parents=True)
    (tmp_path / "state" / "approvals").chmod(0o777)
    with pytest.raises(PullpassError, match="may be written by others") as caught:
        approvals.directory(str(tmp_path / "state"))
    assert caught.value.code == "state-path"


def test_a_directory_that_can_not_be_made_is_told_by_its_path() -> None:
    """The disk's own words, and where."""
    with pytest.raises(PullpassError) as caught:
        approvals.directory("/dev/null/state")
    assert (caught.value.code, caught.value.status) == ("state-unwritable", 6)
    assert caught.value.what == "/dev/null/state/approvals can't be written: Not a directory"


# --- finding


def test_what_was_saved_is_found(path: Path) -> None:
    """By its key."""
    assert approvals.find(str(path.parent), KEY) == APPROVAL


def test_there_may_be_none(place: Path) -> None:
    """Which is no error: somebody has deleted it, or it never was."""
    assert approvals.find(str(place), KEY) is None


def test_one_that_is_cut_at_any_byte_is_not_believed(path: Path) -> None:
    """But for the line feed at its end, behind a whole document."""
    for length in range(len(RAW) - 1):
        with pytest.raises(DocumentError):
            codec.parse(RAW[:length])
    for length in range(0, len(RAW), 101):
        path.write_bytes(RAW[:length])
        assert damage(path)
    path.write_bytes(RAW[:-1])
    assert approvals.find(str(path.parent), KEY) == APPROVAL


@pytest.mark.parametrize(
    ("written", "what"),
    [
        (b"", "is empty"),
        (RAW + b"{}", f"has a second document at character {len(RAW)}"),
        (RAW.replace(b"pullpass/v1", b"pullpass/v2"), "is no PullApproval of pullpass/v1"),
        (RAW.replace(KEY.encode(), b"f" * 64), "is the approval of another key"),
        (b" " * (approvals.LIMIT_BYTES + 1), f"can't be read: longer than {approvals.LIMIT_BYTES} bytes"),
    ],
    ids=["empty", "two", "unknown version", "of another key", "too long"],
)
def test_what_is_not_this_keys_approval_is_not_believed(written: bytes, what: str, path: Path) -> None:
    """Each with its reason."""
    path.write_bytes(written)
    assert damage(path) == what


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_one_that_others_may_write_is_not_believed(mode: int, path: Path) -> None:
    """They may have."""
    path.chmod(mode)
    assert damage(path) == "belongs to somebody else, or others may write it"


@pytest.mark.needs("root")
def test_one_of_somebody_else_is_not_believed(path: Path) -> None:
    """Whatever its mode."""
    os.chown(path, SOMEBODY, -1)
    assert damage(path) == "belongs to somebody else, or others may write it"


def test_no_link_is_followed(path: Path) -> None:
    """Not even to a good one."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    assert damage(path) == "can't be read: Too many levels of symbolic links"


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir], ids=["fifo", "directory"])
def test_what_is_no_file_is_not_waited_for(plant: type, place: Path) -> None:
    """A fifo would hold the run until somebody writes."""
    path = place / f"{KEY}.json"
    plant(path)
    assert damage(path) == "can't be read: not a regular file"


# --- saving


def test_saving_replaces_the_file_in_one_step(path: Path) -> None:
    """Whoever had it open reads the old one to its end; only the caller may read the new one."""
    before = path.open("rb")
    later = APPROVAL._replace(rotations=7)
    old_umask = os.umask(0)
    try:
        approvals.save(str(path.parent), later)
    finally:
        os.umask(old_umask)
    with before:
        assert before.read() == RAW
    assert path.read_bytes() == codec.render(later)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_saving_breaks_a_link_and_does_not_follow_it(path: Path, tmp_path: Path) -> None:
    """What was planted points at another file, which stays as it is."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    path.unlink()
    path.symlink_to(victim)
    approvals.save(str(path.parent), APPROVAL)
    assert victim.read_text() == "untouched"
    assert approvals.find(str(path.parent), KEY) == APPROVAL


def test_what_can_not_be_saved_is_an_error_and_leaves_the_one_before(place: Path) -> None:
    """A directory stands in the way; no temporary file stays."""
    path = place / f"{KEY}.json"
    path.mkdir()
    with pytest.raises(PullpassError) as caught:
        approvals.save(str(place), APPROVAL)
    assert caught.value.code == "state-unwritable"
    assert caught.value.what == f"{path} can't be written: Is a directory"
    assert list(place.iterdir()) == [path]


SAVE = f"""
import sys
sys.path.append({LIBRARY!r})
from pullpass import approvals
from pullpass.approvals import codec
approvals.save(sys.argv[1], codec.parse(open(sys.argv[3], "rb").read()), sync=sys.argv[2] == "sync")
"""


@pytest.mark.needs("strace")
@pytest.mark.parametrize("sync", ["sync", "no"])
def test_saving_syncs_the_file_and_its_name(sync: str, place: Path, tmp_path: Path) -> None:
    """Where it must outlast a power failure: first the content, then, after the rename, the directory."""
    given = tmp_path / "approval"
    given.write_bytes(RAW)
    done = tracing.run([sys.executable, "-IS", "-c", SAVE, str(place), sync, str(given)], place, tmp_path)
    assert (done.status, done.stderr) == (0, "")
    calls = [step.call for step in done.steps if step.call in {"write", "fsync", "rename"}]
    assert calls == (["write", "fsync", "rename", "fsync"] if sync == "sync" else ["write", "rename"])
    assert approvals.find(str(place), KEY) == APPROVAL


# --- whether one stands

DENIAL = make_approval(state=DENIED, denied_at_s=NOW_S, denied_code="aws-sts-denied")
UNDER = make_approval(validated_under=("a", "b"))


@pytest.mark.parametrize(
    ("approval", "later_s", "required", "standing"),
    [
        (APPROVAL, 0, (), LIVING),
        (APPROVAL, 3599.9, (), LIVING),
        (APPROVAL, 3600, (), EXPIRED),
        (APPROVAL, -0.1, (), AHEAD),
        (APPROVAL, 0, ("a",), VOIDED),
        (UNDER, 0, ("a", "b"), LIVING),
        (UNDER, 0, ("b",), LIVING),
        (UNDER, 0, ("a", "c"), VOIDED),
        (UNDER, 3600, ("c",), VOIDED),
        (UNDER, 3600, ("a",), EXPIRED),
        (UNDER, -1, ("c",), AHEAD),
        (DENIAL, 0, (), REMEMBERED),
        (DENIAL, 29.9, ("a",), REMEMBERED),
        (DENIAL, 30, (), EXPIRED),
        (DENIAL, -0.1, (), EXPIRED),
        (DENIAL._replace(denied_at_s=None), 0, (), EXPIRED),
    ],
)
def test_the_standing(approval: Approval, later_s: float, required: tuple[str, ...], standing: str) -> None:
    """At each edge: its own moment still counts for a beginning, and no longer for an end."""
    assert approvals.judge(approval, NOW_S + later_s, required, TIMES) == standing


def test_without_denied_for_no_denial_is_remembered() -> None:
    """Not even in the moment it was written."""
    assert approvals.judge(DENIAL, NOW_S, (), TIMES._replace(denied_for_s=0.0)) == EXPIRED


HOURS_S = 3600.0


@pytest.mark.parametrize(
    ("approval", "later_s", "outage_s", "may"),
    [
        (APPROVAL, 1 * HOURS_S, 4 * HOURS_S, True),
        (APPROVAL, 5 * HOURS_S - 0.1, 4 * HOURS_S, True),
        (APPROVAL, 5 * HOURS_S, 4 * HOURS_S, False),
        (APPROVAL, 1 * HOURS_S, 0.0, False),
        (APPROVAL, 1 * HOURS_S - 10, 0.0, False),
        (APPROVAL, 1 * HOURS_S - 10, 1.0, True),
        (APPROVAL, 12 * HOURS_S - 30, 24 * HOURS_S, True),
        (APPROVAL, 12 * HOURS_S - 29.9, 24 * HOURS_S, False),
        (APPROVAL._replace(registry_expires_s=NOW_S + HOURS_S), 1 * HOURS_S, 4 * HOURS_S, False),
        (APPROVAL._replace(state=DENIED), 1 * HOURS_S, 4 * HOURS_S, False),
    ],
)
def test_how_long_one_may_outlive_its_end(approval: Approval, later_s: float, outage_s: float, may: bool) -> None:
    """Up to `outage` past it, while the password itself lives for `min_life`, and never with an outage of 0."""
    assert approvals.may_outlive(approval, NOW_S + later_s, TIMES._replace(outage_s=outage_s)) is may


# --- all of them


def test_all_are_found_one_after_the_other(place: Path, path: Path) -> None:
    """Damaged ones with what is wrong; temporary files and other names are none."""
    other = make_approval(key="e" * 64)
    approvals.save(str(place), other)
    (place / f"{'d' * 64}.json").write_text("{")
    (place / ".x.1.ab.tmp").write_text("half")
    (place / ".hidden.json").write_text("half")
    (place / "README").write_text("no approval")
    found = dict(approvals.scan(str(place.parent)))
    assert found.pop(KEY) == APPROVAL
    assert found.pop("e" * 64) == other
    [(key, error)] = found.items()
    assert key == "d" * 64
    assert isinstance(error, UnreadableError)
    assert error.what.startswith("is not JSON")


def test_one_that_is_gone_before_it_was_read_is_passed_over(place: Path) -> None:
    """Somebody prunes meanwhile."""
    for number in range(3):
        approvals.save(str(place), make_approval(key=f"{number}" * 64))
    found = []
    for key, _ in approvals.scan(str(place.parent)):
        found.append(key)
        for path in place.iterdir():
            path.unlink()
    assert len(found) == 1


def test_without_a_directory_there_are_none(tmp_path: Path) -> None:
    """And looking makes none."""
    assert list(approvals.scan(str(tmp_path / "state"))) == []
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_not_ours_alone_is_not_looked_through(tmp_path: Path) -> None:
    """What others could have put there is no list of approvals."""
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "approvals").symlink_to(tmp_path)
    with pytest.raises(PullpassError) as caught:
        list(approvals.scan(str(tmp_path / "state")))
    assert caught.value.code == "state-path"

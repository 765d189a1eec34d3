"""Directories that are full, read-only, planted or somebody else's: what is answered, refused, and warned of."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

import racing
from factories import IMAGE, make_grant, make_request
from pullpass import pipeline
from pullpass.errors import PullpassError
from serving import HOUR_S, Run
from support import FakeClock, make_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pullpass.config import Config


# --- approvals


def test_without_an_approval_on_disk_nothing_is_handed_out(run: Run) -> None:
    """The cloud has given a credential, and the disk is full."""
    with racing.before_opening("/approvals/.", racing.failing(errno.ENOSPC)):
        answer = run.serve(run.request())
    assert (answer.status, answer.stdout) == (6, b"")
    assert answer.stderr.startswith(b"pullpass: state-unwritable: ")
    assert b"can't be written: No space left on device; " in answer.stderr
    assert run.events() == [("refused", "state-unwritable")]
    assert not (run.runtime / "cache").exists()
    assert run.password(run.request()) == "pass word 2"


def test_a_renewal_that_can_not_be_written_down_leaves_what_lives(lived: Run) -> None:
    """The old approval stands, and so does its credential."""
    lived.clock.advance(2200)
    with racing.before_opening("/approvals/.", racing.failing(errno.EROFS)):
        assert lived.password(lived.request()) == "pass word"
    assert lived.events() == [("warning", "state-unwritable"), ("served", "cache")]
    assert lived.approval["rotations"] == 0


def test_a_repository_that_can_not_be_added_is_not_served(lived: Run) -> None:
    """The approval would not say that it was handed out for it."""
    lived.edit(repositories={})
    with racing.before_opening("/approvals/.", racing.failing(errno.EIO)):
        assert lived.refusal(lived.request()) == "state-unwritable"
    assert lived.approval["repositories"] == {}


@pytest.mark.parametrize(
    ("plant", "code"),
    [
        (lambda path: path.write_text("a file"), "state-unwritable"),
        (lambda path: path.mkdir() or path.chmod(0o777), "state-path"),
    ],
    ids=["file", "open to others"],
)
def test_a_state_directory_that_is_none_refuses_everything(plant: Callable[[Path], Any], code: str, run: Run) -> None:
    """Before anything is sent; the line on stderr says that there is no line in the trail either."""
    plant(run.state)
    answer = run.serve(run.request())
    line = answer.stderr.decode()
    assert (answer.status, line.count("\n"), run.cloud.asked) == (6, 1, [])
    assert "; and it is not in the trail: the audit trail in " in line
    # A file in the place of the directory is seen by the reader of orders first.
    assert line.startswith((f"pullpass: {code}: ", "pullpass: order-unreadable: "))


# --- the cache


@pytest.mark.parametrize(
    "plant",
    [
        lambda runtime: (runtime / "cache").write_text("a file"),
        lambda runtime: (runtime / "cache").symlink_to(runtime.parent),
        lambda runtime: (runtime / "cache.key").mkdir(),
        lambda runtime: (runtime / "cache").mkdir() or (runtime / "cache").chmod(0o777),
    ],
    ids=["file", "link", "key is a directory", "open to others"],
)
def test_a_cache_that_can_not_be_used_costs_exchanges(plant: Callable[[Path], Any], run: Run) -> None:
    """Each request is answered, with a warning in the trail."""
    run.runtime.mkdir(mode=0o700)
    plant(run.runtime)
    assert run.password(run.request()) == "pass word"
    assert run.events() == [("warning", "cache-unusable"), ("issued", "exchange")]
    assert run.password(run.request()) == "pass word 2"
    assert run.events()[-1] == ("rotated", "exchange")


def test_a_full_tmpfs_costs_exchanges(run: Run) -> None:
    """An entry that can't be written is no reason to refuse."""
    with racing.before_opening("/cache/.", racing.failing(errno.ENOSPC)):
        assert run.password(run.request()) == "pass word"
    [warning, line] = run.lines()
    assert warning["message"] == f"{run.runtime}/cache: No space left on device"
    assert (warning["code"], line["event"]) == ("cache-unusable", "issued")


def test_an_entry_of_another_version_is_not_overwritten(lived: Run) -> None:
    """That version still needs it; this one exchanges each time and says so."""
    foreign = b"pullpass-cache 2\nwhatever"
    lived.cache_path.write_bytes(foreign)
    assert lived.password(lived.request()) == "pass word 2"
    assert lived.cache_path.read_bytes() == foreign
    [damaged, unusable, line] = lived.lines()
    assert (damaged["code"], unusable["code"], line["event"]) == ("cache-damaged", "cache-unusable", "rotated")
    assert unusable["message"] == f"{lived.cache_path} is no cache entry of this version"


# --- intents


@pytest.mark.parametrize(
    "plant",
    [
        lambda place: place.write_text("a file"),
        lambda place: place.symlink_to(place.parent),
        lambda place: place.mkdir() or place.chmod(0o777),
    ],
    ids=["file", "link", "open to others"],
)
def test_without_intents_there_may_be_more_exchanges(plant: Callable[[Path], Any], run: Run) -> None:
    """They save calls; they are no condition of an answer."""
    run.runtime.mkdir(mode=0o700)
    plant(run.runtime / "intents")
    assert run.password(run.request()) == "pass word"
    assert run.events() == [("warning", "intent-unwritable"), ("issued", "exchange")]
    assert run.password(run.request()) == "pass word"
    assert run.events() == [("served", "cache")]
    run.clock.advance(2200)
    assert run.password(run.request()) == "pass word"


def test_an_intent_that_can_not_be_opened_is_in_the_trail(run: Run) -> None:
    """With the disk's own words."""
    with racing.before_opening("/intents/", racing.failing(errno.EROFS)):
        assert run.password(run.request()) == "pass word"
    [warning, line] = run.lines()
    assert (warning["code"], line["event"]) == ("intent-unwritable", "issued")
    assert warning["message"] == f"{run.runtime}/intents: Read-only file system"


def test_an_intent_that_is_gone_at_the_end_is_in_the_trail(run: Run) -> None:
    """Somebody has removed it while it was held."""
    run.cloud.during.append(lambda: shutil.rmtree(run.runtime / "intents"))
    assert run.password(run.request()) == "pass word"
    [warning, line] = run.lines()
    assert (warning["code"], line["event"]) == ("intent-unwritable", "issued")
    assert warning["message"].endswith("can't be removed: No such file or directory")


# --- the trail


def broken_trail(run: Run) -> None:
    """Put a directory where the trail's head belongs."""
    (run.state / "audit" / "head").unlink()
    (run.state / "audit" / "head").mkdir()


@pytest.mark.parametrize("image", [IMAGE, "evil.example/x"])
def test_no_answer_without_a_line(image: str, lived: Run) -> None:
    """`when_full = "refuse"`; what is refused anyway keeps its reason, and says that there is no line."""
    broken_trail(lived)
    answer = lived.serve(lived.request(image))
    assert answer.stdout == b""
    line = answer.stderr.decode()
    if image == IMAGE:
        assert (answer.status, line.startswith("pullpass: trail-unwritable: ")) == (6, True)
    else:
        assert (answer.status, line.startswith("pullpass: registry-unknown: ")) == (3, True)
        assert "; and it is not in the trail: the audit trail in " in line


def test_an_operator_may_choose_answers_without_lines(lived: Run) -> None:
    """`when_full = "issue"`: what is refused is refused all the same."""
    broken_trail(lived)
    lived.config = lived.config._replace(audit=lived.config.audit._replace(when_full="issue"))
    assert lived.password(lived.request()) == "pass word"
    assert lived.refusal(lived.request("evil.example/x")) == "registry-unknown"


def test_a_trail_that_is_held_for_long_is_given_up(lived: Run) -> None:
    """Another process hangs while it holds the lock; the run waits for five seconds of its own."""
    with (lived.state / "audit" / "head").open("rb") as head:
        fcntl.flock(head, fcntl.LOCK_EX)
        assert lived.refusal(lived.request()) == "trail-unwritable"
    assert sum(lived.clock.slept) == pytest.approx(5.0)
    assert lived.password(lived.request()) == "pass word"


# --- the configuration, and defects


def test_what_can_not_be_placed_has_no_line() -> None:
    """A configuration that can't be read names no trail: the refusal is that of the request."""

    def load_config() -> Config:
        raise PullpassError("usage", "made up")

    answer = pipeline.serve(b"", pipeline.Deps(load_config, FakeClock()))
    assert (answer.status, answer.stderr.split(b":")[1]) == (2, b" request-empty")


def test_a_bad_request_has_its_line(run: Run) -> None:
    """The configuration is read for it, though the run did not come so far."""
    assert run.refusal(b"{}") == "request-version"
    [line] = run.lines()
    assert (line["event"], line["code"], line["cluster"]) == ("refused", "request-version", "prod-1")
    assert not {"image", "serviceAccount", "approval"} & line.keys()


@pytest.mark.parametrize("raw", [b"", make_request(make_token())])
def test_a_defect_in_reading_the_configuration_is_one_line(raw: bytes) -> None:
    """The reason that came first is the one that is told."""

    def load_config() -> Config:
        raise RuntimeError("secret")

    answer = pipeline.serve(raw, pipeline.Deps(load_config, FakeClock()))
    assert answer.stderr.split(b":")[1] == (b" internal" if raw else b" request-empty")
    assert b"secret" not in answer.stderr


class StoppedClock(FakeClock):
    """A clock that breaks, as a defect would.

    Attributes:
        broken: whether it has.
    """

    broken = False

    def monotonic_s(self) -> float:
        """Seconds, while it works."""
        if self.broken:
            raise RuntimeError("secret")
        return super().monotonic_s()


def test_a_defect_in_the_trail_is_no_answer(run: Run) -> None:
    """Whatever goes wrong with the line, what was to be answered stays here."""
    run.clock = clock = StoppedClock()
    run.cloud.during.append(lambda: setattr(clock, "broken", True))
    answer = run.serve(run.request())
    assert (answer.status, answer.stdout, len(run.cloud.asked)) == (6, b"", 1)
    assert answer.stderr.startswith(b"pullpass: internal: RuntimeError at ")
    assert b"secret" not in answer.stderr


def test_nothing_is_left_open(lived: Run) -> None:
    """Neither by answers, from the cache or not, nor by refusals."""
    before = set(os.listdir("/proc/self/fd"))
    for later_s in (0.0, 2200.0, HOUR_S):
        lived.clock.advance(later_s)
        lived.answer(lived.request())
        lived.cloud.failure = PullpassError("cloud-unreachable", "made up")
        lived.serve(lived.request())
        lived.cloud.failure = None
    lived.refusal(lived.request("evil.example/x"))
    run = Run(lived.state.parent / "static", make_grant(identity="anonymous"))
    run.answer(run.request())
    assert set(os.listdir("/proc/self/fd")) == before

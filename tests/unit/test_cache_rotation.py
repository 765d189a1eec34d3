"""Another key for the cache: entries go on opening, whatever moment it is stopped at, and whoever writes meanwhile."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from factories import HOST, make_grant
from pullpass.approvals import intents
from pullpass.cache import disk, rotation
from pullpass.errors import LOCAL_STATE, PullpassError
from pullpass.exchange import Credential
from pullpass.secret import Secret
from pullpass.upkeep import TOLD_EVERY, credentials
from pullpass.upkeep.credentials import Rotated
from serving import Run
from support import NOW_S

if TYPE_CHECKING:
    from pathlib import Path

KEYS = ("1" * 64, "2" * 64, "3" * 64)
IMAGES = tuple(f"{HOST}/team-a/{name}" for name in ("app", "api", "job"))


def make_credential(text: str = "pass") -> Credential:
    """A credential."""
    return Credential("AWS", Secret(text), NOW_S + 3600, NOW_S + 3600, "arn", "A", ("r",))


@pytest.fixture(name="runtime")
def _runtime(tmp_path: Path) -> str:
    """A runtime directory with three entries."""
    runtime = str(tmp_path / "run")
    disk.directory(runtime)
    for key in KEYS:
        disk.put(runtime, key, NOW_S, make_credential(f"of {key[0]}"))
    return runtime


def opened(runtime: str) -> list[str]:
    """The secrets of the three entries, each of which must open."""
    found = [disk.get(runtime, key, NOW_S) for key in KEYS]
    return [credential.secret.reveal() for credential in found if credential]


ALL = ["of 1", "of 2", "of 3"]


def test_entries_open_at_every_step(runtime: str) -> None:
    """Before, between and after; at the end under the new key alone."""
    before = disk.read_key(runtime)
    rotation.begin(runtime)
    assert rotation.is_pending(runtime)
    assert disk.read_key(runtime, disk.PREVIOUS_NAME) == before != disk.read_key(runtime)
    assert opened(runtime) == ALL
    for key in KEYS:
        rotation.recode(runtime, key, NOW_S)
        assert opened(runtime) == ALL
    rotation.finish(runtime)
    assert not rotation.is_pending(runtime)
    assert opened(runtime) == ALL
    assert {path for path in os.listdir(runtime) if not path.startswith(".")} == {"cache", "cache.key"}


def test_the_copy_of_the_key_is_private(runtime: str) -> None:
    """As the key itself."""
    rotation.begin(runtime)
    for name in (disk.KEY_NAME, disk.PREVIOUS_NAME):
        assert os.stat(os.path.join(runtime, name)).st_mode & 0o777 == 0o600


def test_an_old_copy_of_an_entry_opens_no_more(runtime: str) -> None:
    """That is what changing the key is for: a copy with the old key is worth nothing to the new one."""
    old = disk.read(runtime, KEYS[0])
    rotation.begin(runtime)
    rotation.recode(runtime, KEYS[0], NOW_S)
    rotation.finish(runtime)
    assert disk.read(runtime, KEYS[0]) != old
    with open(os.path.join(runtime, disk.NAME, KEYS[0]), "wb") as file:
        file.write(disk.HEADER + (old or b""))
    with pytest.raises(disk.DamagedError, match="does not open"):
        disk.get(runtime, KEYS[0], NOW_S)


@pytest.mark.parametrize("lost", [disk.KEY_NAME, disk.PREVIOUS_NAME])
def test_either_key_may_get_lost_on_the_way(runtime: str, lost: str) -> None:
    """What is under the other one still opens, what was under the lost one is a miss."""
    rotation.begin(runtime)
    rotation.recode(runtime, KEYS[0], NOW_S)
    os.unlink(os.path.join(runtime, lost))
    outcomes = []
    for key in KEYS:
        try:
            outcomes.append(disk.get(runtime, key, NOW_S) is not None)
        except disk.DamagedError:
            outcomes.append(False)
    assert outcomes == ([True, False, False] if lost == disk.PREVIOUS_NAME else [False, True, True])


def test_what_is_damaged_is_told_as_under_one_key(runtime: str) -> None:
    """The key beside it makes no other error of it."""
    os.truncate(os.path.join(runtime, disk.NAME, KEYS[0]), len(disk.HEADER) + 20)
    rotation.begin(runtime)
    with pytest.raises(disk.DamagedError, match="does not open"):
        rotation.recode(runtime, KEYS[0], NOW_S)
    rotation.recode(runtime, "4" * 64, NOW_S)  # there is none, and none is made
    assert not os.path.exists(os.path.join(runtime, disk.NAME, "4" * 64))


def test_without_a_key_there_is_nothing_to_copy(tmp_path: Path) -> None:
    """A new one is made all the same."""
    runtime = str(tmp_path / "run")
    disk.directory(runtime)
    rotation.begin(runtime)
    assert not rotation.is_pending(runtime)
    assert len(disk.read_key(runtime) or b"") == disk.KEY_BYTES
    rotation.finish(runtime)


class Node(Run):
    """A node with three approvals, whose cache is given another key."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, make_grant(service_accounts=("team-a/*",)))
        for image in IMAGES:
            self.answer(self.request(image))

    @property
    def run_dir(self) -> str:
        """The runtime directory."""
        return str(self.runtime)

    def rotate(self) -> Rotated:
        """Change the key."""
        return credentials.rotate(self.config, self.clock)

    def entries(self) -> dict[str, bytes]:
        """The entries' bytes by key."""
        return {path.name: path.read_bytes() for path in (self.runtime / "cache").iterdir()}

    def served(self) -> list[str]:
        """The passwords that are handed out now."""
        return [self.password(self.request(image), image) for image in IMAGES]


@pytest.fixture(name="node")
def _node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_credentials_are_served_before_and_after(node: Node) -> None:
    """The same ones, and the cloud is not asked."""
    before, entries = node.served(), node.entries()
    assert node.rotate() == Rotated(kept=3, removed=0, foreign=0)
    assert node.entries().keys() == entries.keys()
    assert not set(node.entries().values()) & set(entries.values())
    assert (node.served(), len(node.cloud.asked)) == (before, 3)
    assert os.listdir(node.runtime / "intents") == []


@pytest.mark.parametrize("recoded", [0, 1, 2, 3])
def test_one_that_was_stopped_is_finished_by_the_next(node: Node, recoded: int) -> None:
    """Wherever it was stopped, everything is served meanwhile, and afterwards under the newest key alone."""
    rotation.begin(node.run_dir)
    between = disk.read_key(node.run_dir)
    for key in sorted(node.entries())[:recoded]:
        rotation.recode(node.run_dir, key, node.clock.now_s())
    before = node.served()
    assert node.rotate() == Rotated(3, 0, 0)
    assert not rotation.is_pending(node.run_dir)
    assert disk.read_key(node.run_dir) != between
    assert (node.served(), len(node.cloud.asked)) == (before, 3)


def test_one_that_was_stopped_before_the_new_key_is_finished_too(node: Node) -> None:
    """The copy and the key are the same then."""
    shutil.copy(node.runtime / disk.KEY_NAME, node.runtime / disk.PREVIOUS_NAME)
    assert node.rotate() == Rotated(3, 0, 0)
    assert not rotation.is_pending(node.run_dir)
    assert (len(node.served()), len(node.cloud.asked)) == (3, 3)


def test_an_entry_that_does_not_open_is_written_down_and_removed(node: Node) -> None:
    """As a request would have told it; the next one makes an exchange."""
    node.lines()
    path = node.runtime / "cache" / min(node.entries())
    path.write_bytes(path.read_bytes()[:-1])
    assert node.rotate() == Rotated(kept=2, removed=1, foreign=0)
    [line] = node.lines()
    assert (line["event"], line["code"], line["approval"]) == ("warning", "cache-damaged", path.name)
    assert str(path) in line["message"]
    assert not path.exists()
    assert (len(set(node.served())), len(node.cloud.asked)) == (3, 4)


def test_one_that_can_not_be_written_down_is_not_removed(node: Node) -> None:
    """And the old key is still there for the others."""
    path = node.runtime / "cache" / min(node.entries())
    path.write_bytes(path.read_bytes()[:-1])
    shutil.rmtree(node.state / "audit")
    (node.state / "audit").write_text("")
    with pytest.raises(PullpassError) as caught:
        node.rotate()
    assert caught.value.code == "trail-unwritable"
    assert path.exists()
    assert rotation.is_pending(node.run_dir)
    (node.state / "audit").unlink()
    assert node.rotate() == Rotated(kept=2, removed=0, foreign=0)  # the first pass has removed it


def test_an_entry_without_approval_is_removed_silently(node: Node) -> None:
    """Nothing is served without one, so nothing is lost."""
    node.lines()
    one, two, _ = sorted(node.entries())
    (node.state / "approvals" / f"{one}.json").unlink()
    (node.state / "approvals" / f"{two}.json").write_text("{")
    assert node.rotate() == Rotated(kept=1, removed=2, foreign=0)
    assert node.lines() == []


def test_what_another_version_has_written_is_left(node: Node) -> None:
    """Its entries, files under other names, and a directory."""
    key = min(node.entries())
    place = node.runtime / "cache"
    (place / key).write_bytes(disk.MAGIC + b"2\nwhatever")
    (place / "notes").write_text("x")
    (place / ("a" * 64)).mkdir()
    (place / ".leftover.tmp").write_text("")
    assert node.rotate() == Rotated(kept=2, removed=0, foreign=3)
    assert (place / key).read_bytes() == disk.MAGIC + b"2\nwhatever"
    assert {path.name for path in place.iterdir()} > {"notes", "a" * 64, ".leftover.tmp"}


def test_an_entry_that_is_in_use_is_waited_for(node: Node) -> None:
    """For as long as a run may last; then it is said that it is not finished, and the old key stays for it."""
    key = min(node.entries())
    held = intents.enter(node.run_dir, key, node.clock, 0.0)
    assert held is not None
    with pytest.raises(PullpassError) as caught:
        node.rotate()
    assert (caught.value.code, caught.value.status) == ("rotation-unfinished", LOCAL_STATE)
    assert caught.value.what.startswith("1 entry of the cache still under the key before")
    assert sum(node.clock.slept) >= credentials.BUSY_WAIT_S
    intents.leave(held)
    assert (len(set(node.served())), len(node.cloud.asked)) == (3, 3)
    assert node.rotate() == Rotated(3, 0, 0)


def test_a_leftover_intent_stays_for_the_next_exchange(node: Node) -> None:
    """Changing the key is no exchange, so it does not take away what one must report."""
    key = min(node.entries())
    held = intents.enter(node.run_dir, key, node.clock, 0.0)
    assert held is not None
    os.close(held.descriptor)  # as the kernel does it for one that was killed
    assert node.rotate() == Rotated(3, 0, 0)
    assert os.listdir(node.runtime / "intents") == [key]


def test_two_at_once(node: Node) -> None:
    """The second is told so, and nothing happens."""
    with rotation.alone(node.run_dir, node.clock), pytest.raises(PullpassError) as caught:
        node.rotate()
    assert caught.value.code == "rotation-unfinished"
    assert "another command" in caught.value.what
    assert node.rotate() == Rotated(3, 0, 0)


def test_who_keeps_a_credential_while_the_key_changes_keeps_it_under_the_new_one(runtime: str) -> None:
    """The old key was read before, the entry is written after the entries were looked through."""

    class Late(Secret):
        """A secret that the key is changed under, between reading the key and writing the entry."""

        def reveal(self) -> str:
            if not rotation.is_pending(runtime):
                rotation.begin(runtime)
            return super().reveal()

    credential = make_credential()._replace(secret=Late("late"))
    disk.put(runtime, "4" * 64, NOW_S, credential)
    for key in KEYS:
        rotation.recode(runtime, key, NOW_S)
    rotation.finish(runtime)
    found = disk.get(runtime, "4" * 64, NOW_S)
    assert found is not None
    assert found.secret.reveal() == "late"
    assert opened(runtime) == ALL


def test_a_runtime_directory_that_can_not_be_used(node: Node) -> None:
    """A file in the place of the lock, and a directory that others may write."""
    (node.runtime / rotation.LOCK_NAME).mkdir()
    with pytest.raises(PullpassError) as caught:
        node.rotate()
    assert (caught.value.code, caught.value.status) == ("runtime-unwritable", LOCAL_STATE)
    assert str(node.runtime / rotation.LOCK_NAME) in caught.value.what
    (node.runtime / rotation.LOCK_NAME).rmdir()
    node.runtime.chmod(0o777)
    with pytest.raises(PullpassError) as caught:
        node.rotate()
    assert caught.value.code == "state-path"
    node.runtime.chmod(0o700)


def test_progress_is_told(tmp_path: Path) -> None:
    """Every thousand entries."""
    node = Run(tmp_path)
    disk.directory(str(node.runtime))
    for number in range(TOLD_EVERY):
        (node.runtime / "cache" / f"x{number}").write_text("")
    told: list[int] = []
    assert credentials.rotate(node.config, node.clock, told.append).foreign == 1000
    assert told == [1000]
    problems = {entry.problem for entry in credentials.entries(node.config, told.append)}
    assert problems == {"has a name that no entry has"}
    assert credentials.prune(node.config, node.clock, dry_run=False, tell=told.append)["foreign"] == 1000
    assert told == [1000, 1000, 1000]

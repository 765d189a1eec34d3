"""Removing approvals that are over: which ones, what stands in the trail before, and what is never touched."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from factories import HOST, IMAGE, make_approval, make_grant
from pullpass import approvals
from pullpass.approvals import codec, intents
from pullpass.cache import disk
from pullpass.errors import LOCAL_STATE, PullpassError
from pullpass.upkeep import TOLD_EVERY, pruning
from pullpass.upkeep.pruning import DAY_S, Wish
from serving import HOUR_S, Run
from support import NOW_S, FakeClock
from upkeeping import lines, prune

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("members", "age_s", "over_at_s"),
    [
        pytest.param({}, DAY_S, HOUR_S + DAY_S, id="a day by default"),
        pytest.param({}, 7 * DAY_S, HOUR_S + 7 * DAY_S, id="as long as is said"),
        pytest.param({}, 0.0, HOUR_S + 14400, id="never while an outage would use it"),
        pytest.param({"state": "denied", "denied_at_s": NOW_S}, DAY_S, 30 + DAY_S, id="a denial"),
        pytest.param({"state": "denied", "denied_at_s": NOW_S}, 0.0, 30, id="a denial as soon as it does not count"),
        pytest.param({"state": "denied", "denied_at_s": NOW_S + 60}, 0.0, 90, id="a denial from the future"),
        pytest.param({"last_validated_s": NOW_S + 60}, 0.0, HOUR_S + 14400, id="from the future"),
    ],
)
def test_when_it_is_over(tmp_path: Path, members: dict[str, Any], age_s: float, over_at_s: float) -> None:
    """To the second."""
    times = Run(tmp_path).config.approval
    approval = make_approval(**members)
    assert pruning.raised_s(times, age_s) == (times.outage_s if age_s < times.outage_s else None)
    assert not pruning.is_over(approval, NOW_S + over_at_s - 1, times, age_s)
    assert pruning.is_over(approval, NOW_S + over_at_s, times, age_s)


def test_what_is_over_goes_with_its_credential(tmp_path: Path) -> None:
    """The line says what the file said; the next request begins a new history."""
    run = Run(tmp_path)
    run.answer(run.request())
    approval, path, entry = run.approval, run.approval_path, run.cache_path
    run.clock.advance(2 * DAY_S)
    lines(run)
    assert prune(run) == {"removed": 1}
    assert not path.exists()
    assert not entry.exists()
    assert os.listdir(run.runtime / "intents") == []
    [line] = lines(run)
    expected = {
        "event": "expired",
        "cluster": "prod-1",
        "serviceAccount": approval["serviceAccount"],
        "pod": approval["evidence"]["pod"],
        "jti": approval["evidence"]["jti"],
        "image": IMAGE,
        "identity": approval["identity"],
        "opens": approval["opens"],
        "approval": approval["id"],
        "credentialHash": approval["credentialHash"],
        "expires": approval["expires"],
        "registryExpires": approval["registryExpires"],
    }
    assert {name: line[name] for name in line if name not in ("seq", "prev", "time")} == expected
    assert prune(run) == {}
    run.answer(run.request())
    assert run.approval["firstApproved"] > approval["firstApproved"]


@pytest.mark.parametrize(("code", "told"), [("aws-node-role", "aws-node-role"), ("Of\nNobody", "cloud-denied")])
def test_a_denial_without_token_and_many_repositories(tmp_path: Path, code: str, told: str) -> None:
    """The line has the denial's code, null for who, and no image where there are several."""
    run = Run(tmp_path, make_grant(node=True, service_accounts=(), identity="node"))
    repositories = {name: codec.Repository(NOW_S, "g") for name in ("a.example/a", "a.example/b")}
    nobody = dict.fromkeys(("namespace", "service_account", "uid", "credential_hash", "token_hash", "jti", "pod"), "")
    denied = make_approval(state="denied", denied_at_s=NOW_S, denied_code=code, repositories=repositories, **nobody)
    approvals.save(approvals.directory(str(run.state)), denied)
    run.clock.advance(2 * DAY_S)
    assert prune(run) == {"removed": 1}
    [line] = lines(run)
    assert (line["serviceAccount"], line["code"]) == (None, told)
    assert line["message"] == "the cloud had refused it at 2027-01-15T08:00:00.000000Z"
    assert not {"image", "credentialHash", "expires", "pod", "jti"} & line.keys()


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    """It counts what would go, and takes no lock."""
    run = Run(tmp_path)
    run.answer(run.request())
    place = run.approval_path.parent
    (place / f"{'b' * 64}.json").write_text("{")
    held = intents.enter(str(run.runtime), "b" * 64, run.clock, 0.0)
    assert held is not None
    os.close(held.descriptor)
    os.utime(held.path, (NOW_S, NOW_S))
    leftover = place / ".x.tmp"
    leftover.write_text("")
    os.utime(leftover, (NOW_S, NOW_S))
    run.clock.advance(2 * DAY_S)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    expected = {"removed": 2, "unreadable": 1, "intents": 1, "leftovers": 1}
    assert prune(run, dry_run=True, unreadable=True) == expected
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert prune(run, unreadable=True) == expected


def test_many_are_removed_in_batches(tmp_path: Path) -> None:
    """Each has its line, and what lives is left."""
    run = Run(tmp_path)
    run.answer(run.request())
    living = run.approval_path
    place = approvals.directory(str(run.state))
    count = 2 * pruning.BATCH + 7
    for number in range(count):
        approvals.save(place, make_approval(key=f"{number:064x}", expires_s=NOW_S - 3 * DAY_S), sync=False)
    lines(run)
    told: list[int] = []
    done = pruning.prune(run.config, run.clock, Wish(), told.append)
    assert (done.removed, told) == (count, [])
    assert list((run.state / "approvals").iterdir()) == [living]
    assert sorted(line["approval"] for line in lines(run)) == [f"{number:064x}" for number in range(count)]


def test_progress_is_told(tmp_path: Path) -> None:
    """Every thousand files."""
    run = Run(tmp_path)
    place = approvals.directory(str(run.state))
    for number in range(TOLD_EVERY):
        with open(f"{place}/{number:064x}.json", "w", encoding="ascii"):
            pass
    told: list[int] = []
    assert pruning.prune(run.config, run.clock, Wish(), told.append).left_unreadable == 1000
    assert told == [1000]


def test_a_key_in_use_is_passed_over(tmp_path: Path) -> None:
    """Somebody may be about to renew it."""
    run = Run(tmp_path)
    run.answer(run.request())
    run.clock.advance(2 * DAY_S)
    held = intents.enter(str(run.runtime), run.approval_path.stem, run.clock, 0.0)
    assert held is not None
    os.utime(held.path, (run.clock.now_s(), run.clock.now_s()))
    assert prune(run) == {"busy": 1}
    assert sum(run.clock.slept) == 0
    intents.leave(held)
    assert prune(run) == {"removed": 1}


@pytest.mark.parametrize("content", [b"", b"{}", b'{"apiVersion":"pullpass/v2"}'])
def test_what_can_not_be_read_goes_only_when_asked_for(tmp_path: Path, content: bytes) -> None:
    """It may be another version's; with `--unreadable` it goes, and the trail says why."""
    run = Run(tmp_path)
    run.answer(run.request())
    path = run.approval_path
    path.write_bytes(content)
    lines(run)
    assert prune(run) == {"left_unreadable": 1}
    assert (path.read_bytes(), lines(run)) == (content, [])
    assert prune(run, unreadable=True) == {"removed": 1, "unreadable": 1}
    assert not path.exists()
    [line] = lines(run)
    assert (line["event"], line["code"], line["approval"]) == ("expired", "approval-unreadable", path.stem)
    assert str(path) in line["message"]


def test_a_directory_is_no_file_to_be_removed(tmp_path: Path) -> None:
    """It is left, and stops nothing."""
    run = Run(tmp_path)
    run.answer(run.request())
    (run.approval_path.parent / "0.json").mkdir()
    run.clock.advance(2 * DAY_S)
    assert prune(run, unreadable=True) == {"removed": 1, "left_unreadable": 1}


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    """Nothing outside is touched."""
    run = Run(tmp_path)
    run.answer(run.request())
    outside = tmp_path / "outside.json"
    outside.write_bytes(run.approval_path.read_bytes())
    (run.approval_path.parent / "0.json").symlink_to(outside)
    assert prune(run, unreadable=True) == {"removed": 1, "unreadable": 1}
    assert outside.exists()


def test_an_entry_of_another_version_is_left(tmp_path: Path) -> None:
    """The approval is over for both."""
    run = Run(tmp_path)
    run.answer(run.request())
    entry = run.cache_path
    entry.write_bytes(disk.MAGIC + b"2\nwhatever")
    run.clock.advance(2 * DAY_S)
    assert prune(run) == {"removed": 1}
    assert entry.exists()


def test_nothing_goes_without_its_line(tmp_path: Path) -> None:
    """A trail that can't be written stops it, and the locks are given back."""
    run = Run(tmp_path)
    run.answer(run.request())
    intent = intents.enter(str(run.runtime), "b" * 64, run.clock, 0.0)
    assert intent is not None
    os.close(intent.descriptor)
    approvals.save(approvals.directory(str(run.state)), make_approval(key="b" * 64))
    head = run.state / "audit" / "head"
    head.unlink()
    head.mkdir()
    run.clock.advance(2 * DAY_S)
    with pytest.raises(PullpassError) as caught:
        prune(run)
    assert (caught.value.code, caught.value.status) == ("trail-unwritable", LOCAL_STATE)
    assert len(list((run.state / "approvals").iterdir())) == 2
    assert os.listdir(run.runtime / "intents") == ["b" * 64]  # it was there before
    head.rmdir()
    assert prune(run) == {"removed": 2, "intents": 1}


def _plant_file(path: Path) -> None:
    path.rmdir()
    path.write_text("")


@pytest.mark.parametrize(
    ("place", "spoil", "code"),
    [
        pytest.param("state/approvals", lambda path: path.chmod(0o777), "state-path", id="open approvals"),
        pytest.param("runtime/intents", lambda path: path.chmod(0o777), "state-path", id="open intents"),
        pytest.param("runtime/intents", _plant_file, "state-path", id="no directory"),
    ],
)
def test_a_directory_of_somebody_else(tmp_path: Path, place: str, spoil: Callable[[Path], None], code: str) -> None:
    """Nothing is removed where others could have put it."""
    run = Run(tmp_path)
    run.answer(run.request())
    run.clock.advance(2 * DAY_S)
    spoil(tmp_path / place)
    with pytest.raises(PullpassError) as caught:
        prune(run)
    assert caught.value.code == code
    assert run.approval_path.exists()


def test_a_file_that_can_not_be_removed_is_named(tmp_path: Path) -> None:
    """A directory in the place of the cache's entry, and one in that of a lock."""
    run = Run(tmp_path)
    run.answer(run.request())
    run.clock.advance(2 * DAY_S)
    entry = run.cache_path
    entry.unlink()
    entry.mkdir()
    with pytest.raises(PullpassError) as caught:
        prune(run)
    assert (caught.value.code, str(entry) in caught.value.what) == ("runtime-unwritable", True)
    assert run.approval_path.exists()
    entry.rmdir()
    (run.runtime / "intents" / run.approval_path.stem).mkdir()
    with pytest.raises(PullpassError) as caught:
        prune(run)
    assert caught.value.code == "runtime-unwritable"


def test_an_approval_that_was_renewed_meanwhile_stays(tmp_path: Path) -> None:
    """What was read before the lock was had does not count."""
    run = Run(tmp_path)
    run.answer(run.request())
    path = run.approval_path

    class Renewing(FakeClock):
        """Renews the approval while it is looked at for the first time."""

        asked = 0

        def now_s(self) -> float:
            """The time."""
            self.asked += 1
            if self.asked == 1:
                run.answer(run.request())
            return super().now_s()

    run.clock.advance(2 * DAY_S)
    before = path.read_bytes()
    done = pruning.prune(run.config, Renewing(run.clock.now_s()), Wish())
    assert done.removed == 0
    assert path.read_bytes() != before
    assert [line["event"] for line in lines(run)] == ["issued", "rotated"]
    assert os.listdir(run.runtime / "intents") == []


def test_a_very_old_store_of_another_host(tmp_path: Path) -> None:
    """Text from a file is cut and escaped before it goes into a line."""
    run = Run(tmp_path)
    hostile = f"{HOST}/x\nevil"
    approval = make_approval(
        expires_s=NOW_S - 9 * DAY_S,
        jti="j" * 999,
        pod="p\n",
        repositories={hostile: codec.Repository(NOW_S, "g")},
    )
    approvals.save(approvals.directory(str(run.state)), approval)
    assert prune(run) == {"removed": 1}
    [line] = lines(run)
    assert len(line["jti"]) == 128
    assert "\n" not in json.dumps(line)
    assert (line["pod"], line["image"]) == ("p\\n", f"{HOST}/x\\nevil")

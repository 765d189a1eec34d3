"""The cache as people see it: whose each entry is, why one does not open, and what of it is of no use."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from factories import HOST, make_grant
from ordering import make_document, plant
from pullpass.approvals import intents
from pullpass.cache import disk
from pullpass.errors import PullpassError
from pullpass.upkeep import credentials
from serving import HOUR_S, Run

if TYPE_CHECKING:
    from pathlib import Path

FUTURE_S = -60.0


def listed(run: Run) -> list[dict[str, Any]]:
    """The documents of all entries, none of which shows the password."""
    documents = [credentials.document(entry) for entry in credentials.entries(run.config)]
    assert run.cloud.password not in json.dumps(documents)
    return documents


def prune(run: Run, *, dry_run: bool = False) -> dict[str, int]:
    """Prune, and what of it was not nothing."""
    done = credentials.prune(run.config, run.clock, dry_run=dry_run)
    return {name: count for name, count in done.items() if count}


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    """A node with one living approval."""
    run = Run(tmp_path)
    run.answer(run.request())
    return run


def test_an_entry_that_opens(run: Run) -> None:
    """Whose it is, and when the first of password and session ends."""
    approval = run.approval
    assert listed(run) == [
        {
            "id": approval["id"],
            "sizeBytes": run.cache_path.stat().st_size,
            "serviceAccount": approval["serviceAccount"],
            "identity": approval["identity"],
            "opens": approval["opens"],
            "decrypts": True,
            "problem": None,
            "ends": approval["sessionExpires"],
        }
    ]


def test_without_a_token_there_is_no_service_account(tmp_path: Path) -> None:
    """A static pod's."""
    run = Run(tmp_path, make_grant(node=True, service_accounts=(), identity="node"))
    run.answer(b'{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"'
               + f"{HOST}/team-a/app".encode() + b'"}')  # fmt: skip
    assert [(entry["serviceAccount"], entry["decrypts"]) for entry in listed(run)] == [(None, True)]


def _cut(run: Run) -> None:
    os.truncate(run.cache_path, run.cache_path.stat().st_size - 1)


def _swap(run: Run) -> None:
    run.edit(credentialHash="0" * 64)


def _foreign(run: Run) -> None:
    run.cache_path.write_bytes(disk.MAGIC + b"2\nx")


def _no_key(run: Run) -> None:
    (run.runtime / disk.KEY_NAME).unlink()


def _open_entry(run: Run) -> None:
    run.cache_path.chmod(0o666)


def _forget(run: Run) -> None:
    run.approval_path.unlink()


def _spoil(run: Run) -> None:
    run.approval_path.write_text("{}")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_cut, "does not open"),
        (_swap, "is not the credential that its approval is about"),
        (_foreign, "is no cache entry of this version"),
        (_no_key, "was made under a key that is gone"),
        (_open_entry, "others may write it"),
        (_forget, "has no approval"),
        (_spoil, "its approval has absent as apiVersion"),
    ],
)
def test_an_entry_that_does_not_open_says_why(run: Run, damage: Any, said: str) -> None:
    """Each reason, and none of it stops the list."""
    key = run.approval_path.stem
    damage(run)
    [entry] = listed(run)
    assert (entry["id"], entry["decrypts"], entry["ends"]) == (key, False, None)
    assert said in entry["problem"]


def test_an_empty_cache(tmp_path: Path) -> None:
    """Before the first request, without a directory, and nothing makes one."""
    run = Run(tmp_path / "node")
    assert listed(run) == []
    assert prune(run) == {}
    assert os.listdir(tmp_path) == []


def test_an_entry_that_goes_while_it_is_listed(run: Run) -> None:
    """Its name was read, and it is gone: it is not there."""
    place = run.runtime / "cache"
    (place / ("b" * 64)).write_text("")
    found = credentials.entries(run.config)
    first = next(found)
    for path in place.iterdir():
        if path.name != first.key:
            path.unlink()
    assert list(found) == []


@pytest.mark.parametrize(
    ("after_s", "change", "done"),
    [
        pytest.param(0, None, {"kept": 1}, id="living"),
        pytest.param(FUTURE_S, None, {"kept": 1}, id="a clock that is slow for a while"),
        pytest.param(HOUR_S + 60, None, {"kept": 1}, id="kept for an outage"),
        pytest.param(6 * HOUR_S, None, {"removed": 1}, id="over"),
        pytest.param(0, _forget, {"removed": 1}, id="no approval"),
        pytest.param(0, _spoil, {"removed": 1}, id="no readable approval"),
        pytest.param(0, _cut, {"kept": 1}, id="damaged: a request is to tell of it"),
        pytest.param(6 * HOUR_S, _foreign, {"foreign": 1}, id="another version"),
        pytest.param(6 * HOUR_S, _open_entry, {"removed": 1}, id="not ours alone"),
    ],
)
def test_what_no_approval_makes_usable_is_removed(run: Run, after_s: float, change: Any, done: dict[str, int]) -> None:
    """A dry run says the same and removes nothing."""
    key = run.approval_path.stem
    if change:
        change(run)
    run.clock.advance(after_s)
    assert prune(run, dry_run=True) == done
    assert (run.runtime / "cache" / key).exists()
    assert prune(run) == done
    assert (run.runtime / "cache" / key).exists() == ("removed" not in done)
    assert os.listdir(run.runtime / "intents") == []


def test_a_denial_makes_nothing_usable(run: Run) -> None:
    """Had the denial failed to remove the entry, this does."""
    entry, raw = run.cache_path, run.cache_path.read_bytes()
    run.clock.advance(0.62 * HOUR_S)
    run.cloud.failure = PullpassError("aws-sts-denied", "no")
    assert run.refusal(run.request()) == "aws-sts-denied"
    assert not entry.exists()
    entry.write_bytes(raw)
    entry.chmod(0o600)
    assert prune(run) == {"removed": 1}


def test_an_order_is_no_reason(run: Run) -> None:
    """It may be lifted."""
    plant(run.state, "o.json", make_document("o", action="block"))
    assert prune(run) == {"kept": 1}


def test_what_is_in_use_is_left_for_the_next_time(run: Run) -> None:
    """No wait, and a leftover intent stays to be reported."""
    key = run.approval_path.stem
    run.clock.advance(6 * HOUR_S)
    held = intents.enter(str(run.runtime), key, run.clock, 0.0)
    assert held is not None
    assert prune(run) == {"busy": 1}
    os.close(held.descriptor)
    assert prune(run) == {"removed": 1}
    assert os.listdir(run.runtime / "intents") == [key]


def test_what_has_become_usable_meanwhile_is_kept(run: Run) -> None:
    """The approval is read again under the lock."""
    run.clock.advance(6 * HOUR_S)

    class Renewing(type(run.clock)):  # type: ignore[misc]
        """Renews the approval while it is looked at for the first time."""

        asked = 0

        def now_s(self) -> float:
            """The time."""
            self.asked += 1
            if self.asked == 2:
                run.answer(run.request())
            return float(super().now_s())

    done = credentials.prune(run.config, Renewing(run.clock.now_s()), dry_run=False)
    assert done == {"removed": 0, "kept": 1, "busy": 0, "foreign": 0}


def test_files_that_are_no_entries_are_left(run: Run) -> None:
    """Another name, a directory, a temporary file."""
    place = run.runtime / "cache"
    (place / "notes").write_text("")
    (place / ("d" * 64)).mkdir()
    (place / ".x.tmp").write_text("")
    (place / ("e" * 64)).symlink_to("/etc/hostname")
    assert prune(run) == {"kept": 1, "foreign": 2, "removed": 1}
    assert {path.name for path in place.iterdir()} == {"notes", "d" * 64, ".x.tmp", run.approval_path.stem}


def test_a_directory_of_somebody_else_is_refused(run: Run) -> None:
    """Neither listed nor pruned."""
    (run.runtime / "cache").chmod(0o777)
    for attempt in (listed, prune):
        with pytest.raises(PullpassError) as caught:
            attempt(run)
        assert caught.value.code == "state-path"


def test_an_intent_that_can_not_be_made_is_named(run: Run) -> None:
    """A directory in its place."""
    run.clock.advance(6 * HOUR_S)
    (run.runtime / "intents" / run.approval_path.stem).mkdir()
    with pytest.raises(PullpassError) as caught:
        prune(run)
    assert caught.value.code == "runtime-unwritable"

"""Approvals as people see them: how each stands, which are asked for, everything about one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from factories import HOST, IMAGE, ROLE, make_approval, make_config, make_paths
from ordering import make_document, plant
from pullpass import approvals
from pullpass.approvals import codec
from pullpass.errors import BAD_INPUT, PullpassError
from pullpass.store import moments
from pullpass.upkeep import TOLD_EVERY, detail, listing
from pullpass.upkeep.listing import Wanted
from serving import HOUR_S, Run
from support import NOW_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from pullpass.approvals import Approval
    from pullpass.config import Config
    from pullpass.upkeep.listing import Item

OTHER = f"{HOST}/team-a/other"
TWO = {name: codec.Repository(NOW_S, "team images") for name in (IMAGE, OTHER)}


@pytest.fixture(name="config")
def _config(tmp_path: Path) -> Config:
    return make_config(paths=make_paths(tmp_path))


def save(config: Config, *stored: Approval) -> None:
    """Store approvals."""
    for approval in stored:
        approvals.save(approvals.directory(config.paths.state), approval, sync=False)


def state(config: Config) -> Path:
    """The state directory."""
    return Path(config.paths.state)


def items(config: Config, wanted: Wanted | None = None, now_s: float = NOW_S) -> list[Item]:
    """The approvals that are asked for."""
    outlook = listing.outlook(config, now_s)
    return [*listing.items(config, outlook, wanted or Wanted())]


def show(config: Config, approval: Approval, now_s: float = NOW_S) -> dict[str, Any]:
    """Everything about one."""
    outlook = listing.outlook(config, now_s)
    document = detail.document(config, detail.find(config, outlook, approval.key), outlook)
    assert json.loads(json.dumps(document)) == document
    return document


DENIED = make_approval(state="denied", denied_at_s=NOW_S, denied_code="aws-sts-denied")


ALIVE = make_approval()
BLOCK = {"action": "block"}
BLOCKED = ("blocked by an order", "over or lifted")


@pytest.mark.parametrize(
    ("approval", "after_s", "order", "said"),
    [
        pytest.param(ALIVE, 0, {}, ("living", "the cache has no credential for it"), id="living"),
        pytest.param(ALIVE, HOUR_S, {}, ("expired", "makes an exchange"), id="expired"),
        pytest.param(ALIVE, -1, {}, ("dated in the future", "so a clock was wrong"), id="future"),
        pytest.param(ALIVE, HOUR_S - 20, {}, ("living", "less than approval.min_life is left"), id="last seconds"),
        pytest.param(DENIED, 29, {}, ("denied", "without asking the cloud"), id="denied"),
        pytest.param(DENIED, 30, {}, ("denied once", "asks the cloud again"), id="denied once"),
        pytest.param(ALIVE, 0, {"reason": "x"}, ("voided by an order", "under the order"), id="voided"),
        pytest.param(ALIVE._replace(validated_under=("o",)), 0, {"reason": "x"}, ("living", "exchange"), id="under it"),
        pytest.param(ALIVE, 0, BLOCK, BLOCKED, id="blocked"),
        pytest.param(DENIED, 0, BLOCK, BLOCKED, id="denied and blocked"),
        pytest.param(ALIVE, 0, {"action": "x"}, ("stopped: an order is unreadable", "can be read"), id="stopped"),
        pytest.param(ALIVE, 0, {"selector": {"image": OTHER}}, ("living", "exchange"), id="something else"),
        pytest.param(DENIED._replace(repositories={}), 0, BLOCK, BLOCKED, id="a denial that lists nothing"),
    ],
)
def test_how_an_approval_stands(
    config: Config, approval: Approval, after_s: float, order: dict[str, Any], said: tuple[str, str]
) -> None:
    """In the list and in the detail, which says what would come of it."""
    standing, coming = said
    save(config, approval)
    if order:
        plant(state(config), "o.json", make_document("o", **order))
    [item] = items(config, now_s=NOW_S + after_s)
    assert (item.key, item.approval, item.problem, item.standing) == (approval.key, approval, "", standing)
    document = show(config, approval, NOW_S + after_s)
    assert document["standing"] == standing
    assert coming in document["next"]
    stands = approval_ends(approval) if standing in ("living", "expired") else None
    status = {"standing": standing, "stands": stands}
    assert listing.document(item) == {**codec.document(approval), "status": status}
    assert document["stands"] == stands
    assert (document["renewedFrom"], document["usedUntil"]) == (None, None)  # nothing is in the cache


def test_every_standing_has_a_sentence() -> None:
    """What `judge` and this module may say, but living, which has two."""
    said = {
        value
        for name, value in vars(approvals).items()
        if name in ("EXPIRED", "AHEAD", "VOIDED", "REMEMBERED")
    } | {listing.UNREADABLE, listing.BLOCKED, listing.STOPPED, listing.LAPSED}  # fmt: skip
    assert set(detail.NEXT) == said


def test_an_order_about_one_repository_voids_that_one(config: Config) -> None:
    """The approval as a whole is told by the worst."""
    approval = make_approval(repositories=TWO)
    save(config, approval)
    plant(state(config), "again.json", make_document("again", selector={"image": OTHER}))
    document = show(config, approval)
    assert document["standing"] == "voided by an order"
    assert [(item["image"], item["standing"]) for item in document["repositories"]] == [
        (IMAGE, "living"),
        (OTHER, "voided by an order"),
    ]
    assert document["orders"] == [
        {"id": "again", "action": "revalidate", "effect": "voids", "reason": "keys were rotated", "by": "alice"}
    ]
    save(config, approval._replace(validated_under=("again",)))
    document = show(config, approval)
    assert (document["standing"], document["orders"][0]["effect"]) == ("living", "validated")


STORE = (
    make_approval(key="a" * 64),
    make_approval(key="b" * 64, namespace="team-b", service_account="api", identity=f"{ROLE}/deep", repositories=TWO),
    make_approval(key="c" * 64, namespace="", service_account="", uid="", identity="node", expires_s=NOW_S - 1),
    DENIED._replace(key="d" * 64, repositories={}),
)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), "abcd*"),
        (Wanted(service_account="*/*"), "abd"),
        (Wanted(service_account="team-a/w*"), "ad"),
        (Wanted(service_account="(no token)"), ""),
        (Wanted(image=f"{HOST}/team-a/app"), "abc"),
        (Wanted(image="**/other"), "b"),
        (Wanted(identity="node"), "c"),
        (Wanted(identity="arn:aws:iam::*:role/**"), "abd"),
        (Wanted(state="approved"), "abc"),
        (Wanted(state="denied"), "d"),
        (Wanted(standing="living"), "ab"),
        (Wanted(standing="expired"), "c"),
        (Wanted(service_account="team-b/*", standing="living", image="**/other", state="approved"), "b"),
    ],
    ids=str,
)
def test_which_are_asked_for(config: Config, wanted: Wanted, found: str) -> None:
    """Joined by and; what can't be read is shown when everything is asked for."""
    save(config, *STORE)
    (state(config) / "approvals" / "x.json").write_text("{")
    assert "".join("*" if item.approval is None else item.key[0] for item in items(config, wanted)) == found


def test_what_can_not_be_read_is_told_and_stops_nothing(config: Config) -> None:
    """Its key and the reason, in the list and in the detail."""
    save(config, *STORE)
    key = STORE[0].key
    (state(config) / "approvals" / f"{key}.json").write_text("{}")
    found = items(config)
    assert len(found) == 4
    assert found[0] == listing.Item(key, None, "has absent as apiVersion, expected a string", "unreadable")
    assert listing.document(found[0]) == {
        "id": key,
        "status": {
            "standing": "unreadable",
            "stands": None,
            "problem": "has absent as apiVersion, expected a string",
        },
    }
    document = show(config, STORE[0])
    assert (document["approval"], document["cache"], document["orders"]) == (None, None, [])
    assert (document["repositories"], document["renewedFrom"], document["usedUntil"]) == ([], None, None)
    assert document["next"] == "the next request makes an exchange, and the file is replaced"


@pytest.mark.parametrize(
    ("key", "plant_it", "remove", "after"),
    [
        ("a" * 64, Path.touch, "rm ", "the next request makes it anew"),
        ("x y", Path.touch, "rm ", "no request makes one of this name"),
        ("a" * 64, Path.mkdir, "rm -r ", "the next request makes it anew"),
    ],
)
def test_what_can_not_be_read_can_be_removed(
    config: Config, key: str, plant_it: Callable[[Path], None], remove: str, after: str
) -> None:
    """The command that is told does it, and whether a request would make it anew depends on the name."""
    save(config, make_approval(key="b" * 64))
    plant_it(state(config) / "approvals" / f"{key}.json")
    outlook = listing.outlook(config, NOW_S)
    document = detail.document(config, detail.find(config, outlook, key), outlook)
    assert document["remedy"].endswith(f"; {after}")
    command = document["remedy"].split("`")[1]
    assert command.startswith(remove)
    assert ("fails" in document["next"]) == (remove == "rm -r ")
    assert ("no request is about" in document["next"]) == (key == "x y")
    assert ("prune --unreadable" in document["remedy"]) == (remove == "rm ")  # which leaves a directory
    subprocess.run(["sh", "-c", command], check=True)
    assert os.listdir(state(config) / "approvals") == [f"{'b' * 64}.json"]


class Cached:
    """A node with one approval whose credential is in the cache.

    Attributes:
        run: the node.
        times: `[approval]`, to be changed.
    """

    def __init__(self, directory: Path) -> None:
        self.run = Run(directory)
        self.run.answer(self.run.request())
        self.times = self.run.config.approval

    def coming(self, after_s: float = 0.0, **times: float) -> dict[str, Any]:
        """What is told then, and with these times: standing and moments, in seconds after the exchange."""
        changed = self.run.config._replace(approval=self.times._replace(**times))
        outlook = listing.outlook(changed, NOW_S + after_s)
        document = detail.document(changed, detail.find(changed, outlook, self.run.approval["id"]), outlook)
        found = {"standing": document["standing"]}
        for name in ("stands", "renewedFrom", "usedUntil"):
            found[name] = None if document[name] is None else moments.parse(document[name]) - NOW_S
        return found


@pytest.fixture(name="cached")
def _cached(tmp_path: Path) -> Cached:
    return Cached(tmp_path)


@pytest.mark.parametrize(
    ("after_s", "times", "moments_s"),
    [
        pytest.param(0, {}, ("living", 3600, 1800, 18000), id="living"),
        pytest.param(3599, {}, ("living", 3600, 1800, 18000), id="last second"),
        pytest.param(3600, {}, ("expired", 3600, None, 18000), id="over"),
        pytest.param(17999, {}, ("expired", 3600, None, 18000), id="last second of an outage"),
        pytest.param(18000, {}, ("expired", 3600, None, None), id="of no use any more"),
        pytest.param(0, {"outage_s": 0.0}, ("living", 3600, 1800, None), id="no outage"),
        pytest.param(3600, {"outage_s": 0.0}, ("expired", 3600, None, None), id="over, and no outage"),
        pytest.param(0, {"outage_s": 864000.0}, ("living", 3600, 1800, 12 * 3600 - 30), id="until the password ends"),
        pytest.param(0, {"max_age_s": 1800.0}, ("living", 1800, None, 16200), id="half of the life"),
        pytest.param(0, {"max_age_s": 2400.0}, ("living", 2400, 1800, 16800), id="more than half of it"),
        pytest.param(1800, {"max_age_s": 1800.0}, ("expired", 1800, None, 16200), id="over by a lowered age"),
        pytest.param(0, {"min_life_s": 1800.0}, ("living", 3600, None, 18000), id="not handed out any more by then"),
    ],
)
def test_times_of_a_renewal_and_of_an_outage(
    cached: Cached,
    after_s: float,
    times: dict[str, float],
    moments_s: tuple[str, float | None, float | None, float | None],
) -> None:
    """Until when it stands, from when it is renewed ahead, and how long it is used while the cloud is out of reach."""
    standing, stands, renewed, used = moments_s
    found = cached.coming(after_s, **times)
    if found["renewedFrom"] is not None:  # up to a tenth of the life later, by key
        assert 0 <= found["renewedFrom"] - 1800 <= 360
        found["renewedFrom"] = 1800
    assert found == {"standing": standing, "stands": stands, "renewedFrom": renewed, "usedUntil": used}


@pytest.mark.parametrize("action", ["block", "revalidate"])
def test_what_an_order_closes_is_not_used_on(cached: Cached, action: str) -> None:
    """Neither renewed ahead nor used in an outage, and its age is not what counts."""
    plant(cached.run.state, "o.json", make_document("o", action=action))
    found = cached.coming()
    standing = {"block": "blocked by an order", "revalidate": "voided by an order"}[action]
    assert found == {"standing": standing, "stands": None, "renewedFrom": None, "usedUntil": None}


def test_what_there_is_besides_is_counted(config: Config) -> None:
    """Whatever is asked for: readable ones, and the first of those that are not."""
    save(config, *STORE)
    for name in ("y", "x"):
        (state(config) / "approvals" / f"{name}.json").write_text("{")
    for wanted in (Wanted(), Wanted(state="denied"), Wanted(identity="nobody")):
        seen = listing.Seen()
        assert len([*listing.items(config, listing.outlook(config, NOW_S), wanted, None, seen)]) <= 6
        assert (seen.approvals, seen.unreadable, seen.first_unreadable) == (4, 2, "x")


def approval_ends(approval: Approval) -> str:
    """When it expires, as the file has it."""
    return str(codec.document(approval)["expires"])


def test_the_cache_of_a_living_one(tmp_path: Path) -> None:
    """Whether its credential is there and opens, and never what it is."""
    run = Run(tmp_path)
    run.answer(run.request())
    outlook = listing.outlook(run.config, run.clock.now_s())

    def look() -> dict[str, Any]:
        document = detail.document(run.config, detail.find(run.config, outlook, run.approval["id"]), outlook)
        assert run.cloud.password not in json.dumps(document)
        return document

    document = look()
    assert document["next"] == "requests are served from the cache"
    assert document["cache"] == {"file": str(run.cache_path), "present": True, "decrypts": True, "problem": None}
    run.cache_path.write_bytes(run.cache_path.read_bytes()[:-1])
    document = look()
    assert (document["cache"]["present"], document["cache"]["decrypts"]) == (True, False)
    assert "does not open" in document["cache"]["problem"]
    assert document["next"] == "the next request makes an exchange: the cache has no credential for it"
    run.cache_path.unlink()
    assert (look()["cache"]["present"], look()["cache"]["problem"]) == (False, None)


def test_a_key_is_found_by_its_beginning(config: Config) -> None:
    """When only one begins so; the whole key is itself, even where another begins with it."""
    save(config, *(make_approval(key=key * 64) for key in "ab"), make_approval(key="a" * 63 + "b"))
    (state(config) / "approvals" / ("b" * 64 + "0.json")).write_text("")
    outlook = listing.outlook(config, NOW_S)

    def find(beginning: str) -> str:
        return detail.find(config, outlook, beginning).key

    def refused(beginning: str, code: str) -> str:
        with pytest.raises(PullpassError) as caught:
            find(beginning)
        assert (caught.value.code, caught.value.status) == (code, BAD_INPUT)
        return caught.value.what

    assert find("a" * 63 + "b") == "a" * 63 + "b"
    assert find("b" * 64) == "b" * 64
    assert refused("a" * 8, "approval-unknown") == f"2 approvals begin with {'a' * 8}"
    assert refused("c" * 8, "approval-unknown") == f"no approval begins with {'c' * 8}"
    assert refused("a" * 7, "usage") == "the key aaaaaaa has less than 8 characters"
    assert refused("\n" * 8, "approval-unknown").isprintable()


def test_no_store_is_an_empty_one(tmp_path: Path) -> None:
    """And stays none."""
    config = make_config(paths=make_paths(tmp_path / "node"))
    assert items(config) == []
    with pytest.raises(PullpassError, match="no approval begins"):
        detail.find(config, listing.outlook(config, NOW_S), "a" * 8)
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told(config: Config) -> None:
    """Every thousand files, whether they are asked for or not."""
    place = approvals.directory(config.paths.state)
    for number in range(2 * TOLD_EVERY + 1):
        with open(f"{place}/{number}.json", "w", encoding="ascii"):
            pass
    told: list[int] = []
    outlook = listing.outlook(config, NOW_S)
    assert list(listing.items(config, outlook, Wanted(state="denied"), told.append)) == []
    assert told == [1000, 2000]

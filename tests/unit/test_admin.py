"""What an order hits, by when it bites, and who gives it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from factories import IMAGE, make_approval, make_config
from ordering import make_order
from pullpass import admin, trail
from pullpass.approvals import Repository, UnreadableError
from pullpass.errors import PullpassError
from support import NOW_S, FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from pullpass.approvals import Approval

OTHER = f"{IMAGE}-other"
RECHECK_S = 600.0


def hits(*found: Approval | UnreadableError, now_s: float = NOW_S, **members: Any) -> admin.Hits:
    """The hits of an order with these members among these approvals."""
    stored = [(f"{number:064x}", approval) for number, approval in enumerate(found)]
    return admin.Hits(make_order(**members), stored, RECHECK_S, now_s)


def repositories(*images: str) -> dict[str, Repository]:
    """What an approval was used for."""
    return {image: Repository(NOW_S, "grant") for image in images}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"all": True}, (IMAGE, OTHER)),
        ({"image": "*/team-a/**"}, (IMAGE, OTHER)),
        ({"image": "*/team-a/app"}, (IMAGE,)),
        ({"image": "*/team-b/**"}, ()),
        ({"serviceAccount": "team-a/*", "image": "*/team-a/app"}, (IMAGE,)),
        ({"serviceAccount": "team-b/*", "image": "*/team-a/app"}, ()),
        ({"identity": "**/pull-team-a"}, (IMAGE, OTHER)),
        ({"identity": "node"}, ()),
    ],
)
def test_an_approval_is_hit_by_its_repositories(selector: dict[str, Any], expected: tuple[str, ...]) -> None:
    """One of them is enough; and only those are counted."""
    approval = make_approval(repositories=repositories(IMAGE, OTHER))
    found = hits(approval, selector=selector)
    assert list(found) == ([(approval, expected)] if expected else [])
    assert set(found.images) == set(expected)


def test_an_approval_without_a_token_has_no_service_account() -> None:
    """As its requests have none."""
    approval = make_approval(namespace="", service_account="", identity="node")
    assert list(hits(approval, selector={"serviceAccount": "*/*"})) == []
    assert list(hits(approval, selector={"identity": "node"})) == [(approval, (IMAGE,))]


def test_a_revalidation_does_not_hit_what_was_validated_under_it() -> None:
    """A block does, whatever approvals remember."""
    approval = make_approval(validated_under=("o-1", "o-2"))
    assert list(hits(approval)) == []
    assert len(list(hits(approval, order_id="o-3"))) == 1
    assert len(list(hits(approval, action="block"))) == 1


def test_what_is_over_is_counted_apart() -> None:
    """A password that has ended opens nothing, and neither does a file that is no approval."""
    living, over = make_approval(), make_approval(registry_expires_s=NOW_S)
    never = make_approval(registry_expires_s=0.0)
    found = hits(
        living,
        over,
        UnreadableError("is not JSON"),
        never,
        make_approval(identity="x"),
        selector={"identity": "**/pull-team-a"},
    )
    assert list(found) == [(living, (IMAGE,))]
    assert (found.approvals, found.over, found.unreadable) == (1, 2, 1)


def test_images_are_counted_with_the_last_end_of_their_passwords() -> None:
    """Each approval counts for each of its images."""
    first = make_approval(repositories=repositories(IMAGE), registry_expires_s=NOW_S + 2)
    second = make_approval(repositories=repositories(IMAGE, OTHER), registry_expires_s=NOW_S + 1)
    found = hits(first, second)
    assert len(list(found)) == 2
    assert found.images == {IMAGE: (2, NOW_S + 2), OTHER: (1, NOW_S + 1)}


@pytest.mark.parametrize(
    ("members", "bites_by_s", "too_soon"),
    [
        ({}, NOW_S + 600, False),
        ({"notBefore": "2027-01-15T07:00:00Z"}, NOW_S + 600, False),
        ({"notBefore": "2027-01-15T09:00:00Z"}, NOW_S + 3600 + 600, False),
        ({"expires": "2027-01-15T08:10:00Z"}, NOW_S + 600, False),
        ({"expires": "2027-01-15T08:09:59Z"}, NOW_S + 600, True),
    ],
)
def test_an_order_bites_recheck_after_it_is_in_force(
    members: dict[str, Any], bites_by_s: float, too_soon: bool
) -> None:
    """One that is over before that may never meet what the kubelet holds."""
    found = hits(**members)
    assert (found.bites_by_s, found.ends_too_soon()) == (bites_by_s, too_soon)


def test_who_watches_is_told_how_far_it_is() -> None:
    """Now and then."""
    told: list[int] = []
    stored = (("0" * 64, UnreadableError("is empty")) for _ in range(2500))
    assert list(admin.Hits(make_order(), stored, RECHECK_S, NOW_S, told.append)) == []
    assert told == [1000, 2000]


def test_approvals_are_not_held_together() -> None:
    """Of 100,000 there is one at a time."""
    living: list[int] = []

    class Counted:
        """Notes how many of its kind there are."""

        def __init__(self) -> None:
            living.append(1)

        def __del__(self) -> None:
            living.pop()

    def stored() -> Any:
        for number in range(1000):
            yield f"{number:064x}", make_approval(jti=Counted())

    highest = 0
    for _ in admin.Hits(make_order(), stored(), RECHECK_S, NOW_S):
        highest = max(highest, len(living))
    assert highest <= 2


def test_the_document_is_made_as_it_is_read() -> None:
    """Images after approvals; a request without a token has no service account."""
    order = make_order()
    found = hits(make_approval(key="k", namespace=""), make_approval(registry_expires_s=NOW_S + 60))
    document = admin.document(order, new=True, hits=found)
    listed = list(document["approvals"])
    assert [(hit["serviceAccount"], hit["registryExpires"]) for hit in listed] == [
        (None, "2027-01-15T20:00:00.000000Z"),
        ({"namespace": "team-a", "name": "web", "uid": make_approval().uid}, "2027-01-15T08:01:00.000000Z"),
    ]
    assert list(document["images"]) == [{"image": IMAGE, "approvals": 2, "passwordsEnd": "2027-01-15T20:00:00.000000Z"}]
    assert document["order"]["id"] == "o-1"
    assert (document["created"], document["bitesBy"]) == (True, "2027-01-15T08:10:00.000000Z")


def test_a_block_is_not_said_to_let_anybody_in() -> None:
    """A revalidation is: whom the cloud still allows."""
    assert admin.STILL_ALLOWED in admin.stays_open(make_order())
    assert admin.stays_open(make_order(action="block")) == list(admin.OPEN)


def test_a_desk_writes_to_the_trail(tmp_path: Path) -> None:
    """Of the state directory that is configured, with its cluster."""
    config = make_config()
    config = config._replace(paths=config.paths._replace(state=str(tmp_path)))
    desk = admin.desk(config, FakeClock(), "bob")
    desk.write([{"event": "warning", "code": "x"}, {"event": "warning", "code": "y"}])
    (path,) = (tmp_path / trail.DIRECTORY).glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["seq"], line["code"]) for line in lines] == [(1, "x"), (2, "y")]
    assert (desk.cluster, desk.by, desk.state) == (config.node.cluster, "bob", str(tmp_path))
    (tmp_path / trail.DIRECTORY).chmod(0o777)
    with pytest.raises(PullpassError, match="trail-unwritable"):
        desk.write([{"event": "warning", "code": "x"}])


def test_the_operator_is_whoever_was_there_before_sudo() -> None:
    """A name as long as an order can hold."""
    assert admin.operator("alice") == "alice"
    assert admin.operator("a" * 300) == "a" * 256
    assert admin.operator(None) == admin.operator("") != ""


@pytest.mark.needs("root")
def test_an_operator_without_a_name_is_a_number() -> None:
    """In a container of its own there may be no list of users that has it."""
    program = "import os; from pullpass import admin; os.setuid(54321); print(admin.operator(None))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("uid 54321\n", "")

"""What the model of the store has found, each as the smallest case of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from factories import make_grant
from ordering import make_document, plant
from pullpass.errors import PullpassError
from serving import HOUR_S, FakeCloud, Run

if TYPE_CHECKING:
    from pathlib import Path

PUBLIC = "public.ecr.aws/docker/library/busybox"


def test_a_lowered_max_age_counts_at_the_next_request(run: Run) -> None:
    """What stands on disk was promised under the old one, and is too old under the new one."""
    run.password(run.request())
    run.set(max_age_s=600.0)
    run.clock.advance(590)
    assert run.answer(run.request())["cacheDuration"] == "0s"  # margin is more than what is left
    run.clock.advance(10)
    assert run.password(run.request()) == "pass word 2"


def test_a_lowered_max_age_bounds_the_outage_too(run: Run) -> None:
    """`outage` counts from where the approval ends now."""
    run.password(run.request())
    run.set(max_age_s=600.0, outage_s=100.0)
    run.cloud.failure = PullpassError("cloud-unreachable", "made up")
    run.clock.advance(650)
    assert run.password(run.request()) == "pass word"
    run.clock.advance(50)
    assert run.refusal(run.request()) == "cloud-unreachable"


def test_a_raised_max_age_makes_nothing_older(run: Run) -> None:
    """`expires` is kept as it was written."""
    run.set(max_age_s=600.0)
    run.password(run.request())
    run.set(max_age_s=HOUR_S)
    run.clock.advance(600)
    assert run.password(run.request()) == "pass word 2"


def test_what_was_stored_during_an_exchange_is_history_too(run: Run) -> None:
    """One that waits in vain for a hanging holder exchanges by itself; the holder goes on from what it has stored."""
    inner: list[str] = []
    run.cloud.during.append(lambda: inner.append(run.password(run.request())))
    assert run.password(run.request()) == "pass word"
    assert inner == ["pass word 2"]
    approval = run.approval
    assert approval["rotations"] == 1
    assert len(approval["previousHashes"]) == 1
    assert approval["previousHashes"] != [approval["credentialHash"]]
    assert approval["firstApproved"] > approval["lastValidated"]  # the inner one was stored first, and sent later
    assert [event for event, _ in run.events()] == ["issued", "rotated"]


def test_a_denial_keeps_what_was_stored_during_its_exchange(run: Run) -> None:
    """The cloud's no about the holder marks the approval that another one has stored meanwhile."""

    def within() -> None:
        run.password(run.request())
        run.cloud.failure = PullpassError("aws-sts-denied", "made up")

    run.cloud.during.append(within)
    assert run.refusal(run.request()) == "aws-sts-denied"
    assert run.approval["state"] == "denied"
    assert run.approval["credentialHash"]
    assert not run.cache_path.exists()


@pytest.mark.parametrize("code", ["cloud-unreachable", "aws-sts-denied", "cloud-answer"])
def test_a_block_that_comes_during_a_failed_exchange_blocks_a_public_image(tmp_path: Path, code: str) -> None:
    """It is answered without a credential when the cloud fails, but not against an order."""
    run = Run(tmp_path, make_grant(images=("public.ecr.aws/**",)), cloud=FakeCloud())
    run.cloud.failure = PullpassError(code, "made up")
    block = make_document("o-1", action="block")
    run.cloud.during.append(lambda: plant(run.state, "o-1.json", block))
    assert run.refusal(run.request(PUBLIC)) == "blocked-by-order"
    failed = "denied" if code == "aws-sts-denied" else "exchange-failed"
    assert run.events() == [(failed, code), ("refused", "blocked-by-order")]

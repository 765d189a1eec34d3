"""What counts when an exchange fails: the design's section of that name, row by row."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

import racing
from factories import HOST, make_grant, make_request
from ordering import make_document, plant
from pullpass.errors import PullpassError
from serving import HOUR_S, FakeCloud, Run
from support import make_token

if TYPE_CHECKING:
    from pathlib import Path

DENIED, TOKEN, INVALID, AWAY = "aws-sts-denied", "aws-token-expired", "cloud-answer", "cloud-unreachable"
FAILED = [TOKEN, INVALID, AWAY]


def fail(run: Run, code: str) -> None:
    """Let the cloud fail from now on."""
    run.cloud.failure = PullpassError(code, "made up")


def recover(run: Run) -> None:
    """Let the cloud answer again."""
    run.cloud.failure = None


def order(run: Run, **members: Any) -> None:
    """Give an order."""
    plant(run.state, "order-1.json", make_document("order-1", **members))


# --- with nothing to fall back on


@pytest.mark.parametrize(("code", "status"), [(TOKEN, 4), (INVALID, 4), (AWAY, 5), (DENIED, 4)])
def test_a_first_exchange_that_fails_is_told_as_it_is(code: str, status: int, run: Run) -> None:
    """Its code, its class's status, one line in the trail, and no intent left."""
    fail(run, code)
    answer = run.serve(run.request())
    assert (answer.status, answer.stdout) == (status, b"")
    assert answer.stderr.startswith(f"pullpass: {code}: made up; ".encode())
    assert run.events() == [("denied" if code == DENIED else "exchange-failed", code)]
    assert not list((run.runtime / "intents").iterdir())


@pytest.mark.parametrize("code", FAILED)
def test_what_is_no_denial_is_not_remembered(code: str, run: Run) -> None:
    """The next request tries again at once, and nothing is stored."""
    fail(run, code)
    run.refusal(run.request())
    assert not list((run.state / "approvals").iterdir())
    recover(run)
    assert run.password(run.request()) == "pass word 2"


# --- denied


def test_a_denial_is_remembered_for_its_time(run: Run) -> None:
    """Without another call; then the cloud is asked again."""
    fail(run, DENIED)
    run.clock.advance(0.25)
    run.refusal(run.request())
    recover(run)
    run.clock.advance(29)
    answer = run.serve(run.request())
    assert (answer.status, len(run.cloud.asked)) == (4, 1)
    assert answer.stderr.startswith(b"pullpass: aws-sts-denied: the cloud refused it at 2027-01-15T08:00:00.250000Z, ")
    assert run.events() == [("denied", DENIED), ("refused", DENIED)]
    run.clock.advance(1)
    assert run.password(run.request()) == "pass word 2"
    assert "deniedAt" not in run.approval


def test_a_denial_that_is_not_to_be_remembered_is_not(run: Run) -> None:
    """`denied_for = "0s"`."""
    run.set(denied_for_s=0.0)
    fail(run, DENIED)
    run.refusal(run.request())
    recover(run)
    assert run.password(run.request()) == "pass word 2"


def test_a_denial_from_the_future_blocks_nobody(run: Run) -> None:
    """The clock was put back: otherwise it would count for an hour."""
    fail(run, DENIED)
    run.refusal(run.request())
    recover(run)
    run.clock.jump(-HOUR_S)
    assert run.password(run.request()) == "pass word 2"


def test_the_code_of_another_version_is_told_as_a_denial(run: Run) -> None:
    """A newer program may know more codes."""
    fail(run, DENIED)
    run.refusal(run.request())
    run.edit(deniedCode="aws-of-tomorrow")
    assert run.refusal(run.request()) == "cloud-denied"


@pytest.mark.parametrize("later_s", [2200.0, HOUR_S, 4 * HOUR_S])
def test_a_denial_ends_what_lived(later_s: float, lived: Run) -> None:
    """The credential is gone, the approval says so and keeps its history; no outage brings it back."""
    lived.clock.advance(later_s)
    fail(lived, DENIED)
    entry = lived.cache_path
    assert lived.refusal(lived.request()) == DENIED
    assert not entry.exists()
    assert (lived.approval["state"], lived.approval["rotations"]) == ("denied", 0)
    assert lived.approval["firstApproved"] == "2027-01-15T08:00:00.000000Z"
    lived.clock.advance(31)
    fail(lived, AWAY)
    assert lived.refusal(lived.request()) == AWAY
    assert lived.events() == [("denied", DENIED), ("exchange-failed", AWAY)]


def test_the_credential_goes_before_the_approval_says_so(lived: Run) -> None:
    """A crash in between costs an exchange; the other way round would leave something to serve."""
    lived.clock.advance(2200)
    fail(lived, DENIED)
    entry, seen = lived.cache_path, list[bool]()
    with racing.before_opening("/approvals/.", lambda: seen.append(entry.exists())):
        assert lived.refusal(lived.request()) == DENIED
    assert seen == [False]


def test_a_denial_that_can_not_be_written_down_is_a_denial(lived: Run) -> None:
    """The credential is gone all the same, and the trail has a warning."""
    lived.clock.advance(2200)
    fail(lived, DENIED)
    entry = lived.cache_path
    with racing.before_opening("/approvals/.", racing.failing(errno.ENOSPC)):
        assert lived.refusal(lived.request()) == DENIED
    assert not entry.exists()
    [warning, line] = lived.lines()
    assert (warning["event"], warning["code"]) == ("warning", "state-unwritable")
    assert warning["message"].startswith("the denial is not remembered: ")
    assert warning["message"].endswith(": No space left on device")
    assert line["event"] == "denied"


def test_a_credential_that_can_not_be_removed_is_not_served_either(lived: Run) -> None:
    """Its approval is denied; the trail has a warning."""
    lived.clock.advance(2200)
    fail(lived, DENIED)
    entry = lived.cache_path
    lived.cloud.during.append(lambda: os.replace(lived.state / "in the way", entry))
    entry.unlink()
    (lived.state / "in the way").mkdir()
    assert lived.refusal(lived.request()) == DENIED
    assert lived.events() == [("warning", "cache-unusable"), ("denied", DENIED)]
    assert lived.refusal(lived.request()) == DENIED


# --- an early renewal


@pytest.mark.parametrize("code", FAILED)
def test_an_early_renewal_that_fails_leaves_what_lives(code: str, lived: Run) -> None:
    """Handed out as it is, and the trail says that an exchange has failed."""
    lived.clock.advance(2200)
    fail(lived, code)
    answer = lived.answer(lived.request())
    assert answer["cacheDuration"] == "600s"
    [failed, line] = lived.lines()
    assert (failed["event"], failed["code"], failed["message"]) == ("exchange-failed", code, "made up")
    assert (line["event"], line["source"], line["expires"]) == ("served", "cache", "2027-01-15T09:00:00.000000Z")
    assert lived.approval["rotations"] == 0


@pytest.mark.parametrize(("code", "calls"), [(AWAY, 2), (TOKEN, 4), (INVALID, 4)])
def test_only_an_outage_makes_a_pause(code: str, calls: int, lived: Run) -> None:
    """Each start of a pod would wait for a cloud that is away; whose token is at fault is another pod's next time."""
    lived.clock.advance(2200)
    fail(lived, code)
    for _ in range(3):
        assert lived.password(lived.request()) == "pass word"
        lived.clock.advance(9.9)
    assert len(lived.cloud.asked) == calls
    lived.clock.advance(0.3)
    recover(lived)
    assert lived.password(lived.request()) == f"pass word {calls + 1}"
    assert "unreachableAt" not in lived.approval


def test_an_early_renewal_does_not_wait_long(lived: Run) -> None:
    """There is something to hand out, and a pod waits for it."""
    lived.clock.advance(2200)
    fail(lived, AWAY)
    lived.answer(lived.request())
    assert [remaining_s for *_, remaining_s in lived.cloud.asked] == [45.0, 10.0]
    lived.config = lived.config._replace(node=lived.config.node._replace(deadline_s=5.0))
    lived.clock.advance(31)
    lived.answer(lived.request())
    assert lived.cloud.asked[-1][3] == 5.0


def test_what_lived_at_the_beginning_may_be_over_at_the_end(tmp_path: Path) -> None:
    """The exchange took long; the failure is told, and nothing that ends within `min_life` is handed out."""
    run = Run(tmp_path, cloud=FakeCloud(session_s=HOUR_S, life_s=HOUR_S, takes_s=0.0))
    run.answer(run.request())
    run.clock.advance(HOUR_S - 31)
    run.cloud.takes_s = 2.0
    fail(run, TOKEN)
    assert run.refusal(run.request()) == TOKEN
    assert run.events()[1:] == [("exchange-failed", TOKEN)]


@pytest.mark.parametrize("code", FAILED)
def test_an_order_that_arrives_while_a_renewal_fails_voids_what_lives(code: str, lived: Run) -> None:
    """It was validated before the order."""
    lived.clock.advance(2200)
    fail(lived, code)
    lived.cloud.during.append(lambda: order(lived))
    assert lived.refusal(lived.request()) == code
    assert lived.events() == [("exchange-failed", code)]


def test_a_block_that_arrives_while_a_renewal_fails_is_obeyed(lived: Run) -> None:
    """Whatever lives."""
    lived.clock.advance(2200)
    fail(lived, AWAY)
    lived.cloud.during.append(lambda: order(lived, action="block"))
    assert lived.refusal(lived.request()) == "blocked-by-order"


def test_a_fault_of_this_node_is_no_fault_of_the_cloud(lived: Run) -> None:
    """An SDK that is gone leaves what lives in use, with a warning."""
    lived.clock.advance(2200)
    fail(lived, "extra-missing")
    assert lived.password(lived.request()) == "pass word"
    assert lived.events() == [("warning", "extra-missing"), ("served", "cache")]


# --- an outage


def test_what_is_too_old_is_served_while_the_cloud_is_away(lived: Run) -> None:
    """Told apart in the trail; its end is not moved, and the kubelet keeps it for a minute at most."""
    fail(lived, AWAY)
    for later_s in (HOUR_S, 2 * HOUR_S, 1.9 * HOUR_S):
        lived.clock.advance(later_s)
        assert lived.answer(lived.request())["cacheDuration"] == "60s"
    assert lived.approval["expires"] == "2027-01-15T09:00:00.000000Z"
    lines = lived.lines()
    assert [(line["event"], line.get("source")) for line in lines] == [
        ("exchange-failed", None),
        ("outage", "outage"),
    ] * 3
    assert {line["expires"] for line in lines[1::2]} == {"2027-01-15T09:00:00.000000Z"}
    lived.clock.advance(0.1 * HOUR_S)
    assert lived.refusal(lived.request()) == AWAY
    recover(lived)
    assert lived.password(lived.request()) == "pass word 6"


@pytest.mark.parametrize("code", [TOKEN, INVALID])
def test_only_a_cloud_that_is_away_makes_an_outage(code: str, lived: Run) -> None:
    """One that answers, whatever it says, is there."""
    lived.clock.advance(HOUR_S)
    fail(lived, code)
    assert lived.refusal(lived.request()) == code


def test_an_outage_begins_in_the_last_seconds_of_a_life(lived: Run) -> None:
    """What ends within `min_life` is not handed out otherwise: an outage would refuse what it serves afterwards."""
    fail(lived, AWAY)
    lived.clock.advance(HOUR_S - 29)
    answer = lived.answer(lived.request())
    assert answer["cacheDuration"] == "60s"
    assert lived.events() == [("exchange-failed", AWAY), ("outage", "outage")]
    lived.clock.advance(31)
    recover(lived)
    assert lived.password(lived.request()) == "pass word 3"


@pytest.mark.parametrize("later_s", [HOUR_S - 29, HOUR_S])
def test_without_an_outage_rule_nothing_is_served_past_its_end(later_s: float, lived: Run) -> None:
    """`outage = "0s"`."""
    lived.set(outage_s=0.0)
    lived.clock.advance(later_s)
    fail(lived, AWAY)
    assert lived.refusal(lived.request()) == AWAY


def test_an_outage_ends_with_the_password(tmp_path: Path) -> None:
    """The registry takes it no longer, so `min_life` before that it is not handed out."""
    run = Run(tmp_path, cloud=FakeCloud(life_s=2 * HOUR_S))
    run.answer(run.request())
    fail(run, AWAY)
    run.clock.advance(2 * HOUR_S - 150)
    assert run.answer(run.request())["cacheDuration"] == "30s"
    run.clock.advance(120)
    assert run.answer(run.request())["cacheDuration"] == "0s"
    run.clock.advance(1)
    assert run.refusal(run.request()) == AWAY


@pytest.mark.parametrize("recheck_s", [20.0, 600.0])
def test_in_an_outage_the_kubelet_asks_soon_again(recheck_s: float, lived: Run) -> None:
    """After `recheck`, where that is shorter than a minute."""
    lived.set(recheck_s=recheck_s)
    lived.clock.advance(HOUR_S)
    fail(lived, AWAY)
    assert lived.answer(lived.request())["cacheDuration"] == f"{min(recheck_s, 60):.0f}s"


def test_an_order_ends_an_outage(lived: Run) -> None:
    """Also one that arrives while the cloud does not answer."""
    lived.clock.advance(HOUR_S)
    fail(lived, AWAY)
    lived.cloud.during.append(lambda: order(lived))
    assert lived.refusal(lived.request()) == AWAY
    assert lived.refusal(lived.request()) == AWAY
    order(lived, selector={"image": f"{HOST}/team-b/app"})
    assert lived.password(lived.request()) == "pass word"


def test_policy_is_asked_in_an_outage_too(lived: Run) -> None:
    """A grant that was taken away serves nobody."""
    lived.clock.advance(HOUR_S)
    fail(lived, AWAY)
    lived.config = lived.config._replace(grants=(make_grant(images=(f"{HOST}/team-b/**",)),))
    assert lived.refusal(lived.request()) == "no-grant"


def test_in_an_outage_a_new_repository_is_added_and_told_apart(tmp_path: Path) -> None:
    """Policy has granted it, and the credential opens it."""
    run = Run(tmp_path, make_grant(node=True, service_accounts=(), images=("gcr.io/**",), identity="node"))
    run.answer(make_request(image="gcr.io/proj/a"))
    run.clock.advance(HOUR_S)
    fail(run, AWAY)
    run.lines()
    assert run.password(make_request(image="gcr.io/proj/b"), "gcr.io/proj/b") == "pass word"
    assert list(run.approval["repositories"]) == ["gcr.io/proj/a", "gcr.io/proj/b"]
    assert run.events() == [("exchange-failed", AWAY), ("outage", "outage")]


@pytest.mark.parametrize(("later_s", "source"), [(2200.0, "cache"), (HOUR_S, "outage")])
def test_an_outage_that_can_not_be_noted_is_survived(later_s: float, source: str, lived: Run) -> None:
    """The next request tries the cloud again, and the trail has a warning."""
    lived.clock.advance(later_s)
    fail(lived, AWAY)
    with racing.before_opening("/approvals/.", racing.failing(errno.EROFS)):
        assert lived.password(lived.request()) == "pass word"
    assert "unreachableAt" not in lived.approval
    [failed, warning, line] = lived.lines()
    assert (failed["event"], warning["code"], line["source"]) == ("exchange-failed", "state-unwritable", source)
    lived.answer(lived.request())
    assert len(lived.cloud.asked) == 3


# --- public images


def test_a_public_image_is_answered_without_a_password(tmp_path: Path) -> None:
    """The images are public; the trail says what has failed, and that nothing was handed out."""
    image = "public.ecr.aws/docker/library/busybox"
    for number, (code, event) in enumerate([(AWAY, "exchange-failed"), (TOKEN, "exchange-failed"), (DENIED, "denied")]):
        run = Run(tmp_path / str(number), make_grant(images=("public.ecr.aws/**",)))
        fail(run, code)
        assert run.answer(make_request(make_token(), image))["cacheDuration"] == "60s"
        [failed, line] = run.lines()
        assert (failed["event"], failed["code"], line["event"], line["cacheDurationS"]) == (
            event,
            code,
            "anonymous",
            60,
        )
    run.answer(make_request(make_token(), image))
    assert run.events() == [("exchange-failed", DENIED), ("anonymous", "")]
    assert len(run.cloud.asked) == 1

"""Getting a credential: exchanged once, kept, renewed, given up; what an order or a lost file makes of it."""

from __future__ import annotations

import json
import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from factories import HOST, IMAGE, make_config, make_grant, make_request
from ordering import make_document, plant
from pullpass.store import digest
from serving import HOUR_S, Run
from support import make_claims, make_token

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 24 * HOUR_S
GOOGLE_IMAGES = [f"europe-docker.pkg.dev/proj/team-a/app-{number}" for number in range(5)]


@pytest.fixture(name="google")
def _google(tmp_path: Path) -> Run:
    """A node whose grant is for Google's registries."""
    return Run(tmp_path, make_grant(images=("europe-docker.pkg.dev/proj/**",), identity="principal"))


def google_request(run: Run, image: str, life_s: float = HOUR_S) -> bytes:
    """A request for one of Google's images, with a token that was issued now."""
    audience = run.config.gcr.audience if run.config.gcr else ""
    return make_request(make_token(make_claims(audience=audience, now_s=run.clock.now_s(), life_s=life_s)), image)


def order(run: Run, order_id: str, **members: Any) -> None:
    """Give an order."""
    plant(run.state, f"{order_id}.json", make_document(order_id, **members))


BLOCK = {"action": "block"}


# --- kept, and renewed


def test_a_second_request_is_answered_from_the_cache(run: Run) -> None:
    """The same password, no call, and the approval's file is not even written."""
    assert run.password(run.request()) == "pass word"
    before = run.approval_path.stat().st_mtime_ns
    run.clock.advance(1700)
    assert run.password(run.request()) == "pass word"
    assert len(run.cloud.asked) == 1
    assert run.approval_path.stat().st_mtime_ns == before
    assert run.events() == [("issued", "exchange"), ("served", "cache")]


def test_the_kubelet_keeps_it_no_longer_than_recheck_and_the_approval_allow(run: Run) -> None:
    """Counted at each answer; a cached answer moves no end."""
    run.set(recheck_s=2000.0)
    durations = []
    for _ in range(4):
        durations.append(run.answer(run.request())["cacheDuration"])
        run.clock.advance(590.25)
    assert durations == ["2000s", "2000s", "2000s", "1709s"]
    assert len(run.cloud.asked) == 1


def test_half_of_a_life_later_it_is_renewed(run: Run) -> None:
    """Another password, the same approval, whose history goes on."""
    run.answer(run.request())
    first = run.approval
    run.clock.advance(2200)
    assert run.password(run.request()) == "pass word 2"
    second = run.approval
    assert (second["firstApproved"], second["id"]) == (first["firstApproved"], first["id"])
    assert (second["lastValidated"], second["expires"]) == (
        "2027-01-15T08:36:40.000000Z",
        "2027-01-15T09:36:40.000000Z",
    )
    assert (second["rotations"], second["previousHashes"]) == (1, [first["credentialHash"]])
    assert second["credentialHash"] == digest.credential_hash("AWS", "pass word 2")
    assert second["cloud"]["requestIds"] == ["request-2"]
    assert run.events() == [("issued", "exchange"), ("rotated", "exchange")]
    assert run.password(run.request()) == "pass word 2"


def test_the_last_eight_hashes_are_kept(run: Run) -> None:
    """Whoever finds an old password in a log can tell when it was given."""
    for _ in range(11):
        run.answer(run.request())
        run.clock.advance(2200)
    expected = [digest.credential_hash("AWS", f"pass word {number}") for number in range(3, 11)]
    assert (run.approval["previousHashes"], run.approval["rotations"]) == (expected, 10)


def test_after_its_age_it_is_exchanged_again(run: Run) -> None:
    """Though the password lives on."""
    run.set(max_age_s=60.0, margin_s=10.0)
    run.answer(run.request())
    run.clock.advance(60)
    assert run.password(run.request()) == "pass word 2"


def test_a_life_that_follows_the_token_is_not_renewed_by_the_same_token(google: Run) -> None:
    """It would end at the same moment; a later token is exchanged."""
    google.answer(google_request(google, GOOGLE_IMAGES[0]))
    old = google_request(google, GOOGLE_IMAGES[0])
    google.clock.advance(2400)
    google.answer(old)
    assert len(google.cloud.asked) == 1
    google.answer(google_request(google, GOOGLE_IMAGES[0]))
    assert len(google.cloud.asked) == 2


def test_a_token_for_all_repositories_is_exchanged_once(google: Run) -> None:
    """One approval lists them all, each with the grant that said yes; policy is asked for each."""
    for image in GOOGLE_IMAGES:
        assert google.password(google_request(google, image), image) == "pass word"
        google.clock.advance(10)
    assert len(google.cloud.asked) == 1
    assert list(google.approval["repositories"]) == GOOGLE_IMAGES
    assert google.approval["repositories"][GOOGLE_IMAGES[2]] == {
        "firstApproved": "2027-01-15T08:00:20.000000Z",
        "grant": "team images",
    }
    assert (google.approval["lastValidated"], google.approval["rotations"]) == ("2027-01-15T08:00:00.000000Z", 0)
    assert google.events() == [("issued", "exchange"), *[("issued", "cache")] * 4]
    assert google.refusal(google_request(google, "europe-docker.pkg.dev/else/app")) == "no-grant"
    google.clock.advance(2400)
    for image in GOOGLE_IMAGES:
        assert google.password(google_request(google, image), image) == "pass word 2"
    assert len(google.cloud.asked) == 2


def test_a_repository_of_its_own_is_an_approval_of_its_own(run: Run) -> None:
    """A password that a session policy limits to one repository is not handed out for another."""
    run.answer(run.request())
    assert run.password(run.request(f"{HOST}/team-a/other"), f"{HOST}/team-a/other") == "pass word 2"
    assert len(list((run.state / "approvals").iterdir())) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config._replace(node=config.node._replace(cluster="prod-2")),
        lambda config: config._replace(grants=(make_grant(identity="arn:aws:iam::111122223333:role/other"),)),
        lambda config: config._replace(grants=(make_grant(via="arn:aws:iam::111122223333:role/second"),)),
        lambda config: config._replace(grants=(make_grant(pull_through=True),)),
        lambda config: config._replace(ecr=config.ecr._replace(session_duration_s=1800)),
        lambda config: config._replace(ecr=config.ecr._replace(scope="registry")),
        lambda config: config._replace(ecr=config.ecr._replace(sts_endpoint="https://sts.example.test")),
    ],
    ids=["cluster", "role", "second hop", "session policy", "duration", "scope", "endpoint"],
)
def test_what_makes_the_credential_another_one_takes_effect_at_once(change: Any, run: Run) -> None:
    """Another key: what was stored is not found, state that was carried into another cluster included."""
    run.answer(run.request())
    run.config = change(run.config)
    assert run.password(run.request()) == "pass word 2"
    assert len(list((run.state / "approvals").iterdir())) == 2
    run.config = make_config(paths=run.config.paths)
    assert run.password(run.request()) == "pass word"


def test_another_uid_is_another_workload(run: Run) -> None:
    """A service account that was deleted and made again."""
    run.answer(run.request())
    claims = make_claims()
    claims["kubernetes.io"]["serviceaccount"]["uid"] = "another"
    assert run.password(make_request(make_token(claims))) == "pass word 2"


# --- lost and put back


def test_without_its_runtime_directory_a_node_exchanges_and_the_history_goes_on(run: Run) -> None:
    """A reboot empties the tmpfs; state stays."""
    run.answer(run.request())
    first = run.approval
    shutil.rmtree(run.runtime)
    run.clock.advance(60)
    assert run.password(run.request()) == "pass word 2"
    assert (run.approval["firstApproved"], run.approval["rotations"]) == (first["firstApproved"], 1)
    assert run.events() == [("issued", "exchange"), ("rotated", "exchange")]


def test_a_deleted_approval_costs_an_exchange(run: Run) -> None:
    """And begins anew: a cached credential alone is served to nobody."""
    run.answer(run.request())
    run.approval_path.unlink()
    run.clock.advance(60)
    assert run.password(run.request()) == "pass word 2"
    assert (run.approval["firstApproved"], run.approval["rotations"]) == ("2027-01-15T08:01:00.000000Z", 0)
    assert run.events() == [("issued", "exchange"), ("issued", "exchange")]


@pytest.mark.parametrize("what", ["approval", "cache"])
def test_a_damaged_file_costs_an_exchange_and_is_in_the_trail(what: str, run: Run) -> None:
    """Once: the next request finds a good one."""
    run.answer(run.request())
    path = run.approval_path if what == "approval" else run.cache_path
    path.write_bytes(path.read_bytes()[:-5])
    run.lines()
    assert run.password(run.request()) == "pass word 2"
    [warning, line] = run.lines()
    assert (warning["event"], line["event"]) == ("warning", "issued" if what == "approval" else "rotated")
    assert warning["code"] == ("approval-unreadable" if what == "approval" else "cache-damaged")
    assert warning["message"].startswith(f"{path} ")
    run.answer(run.request())
    assert run.events() == [("served", "cache")]


def test_the_clock_goes_back_an_hour(run: Run) -> None:
    """The approval lies ahead, so it is validated again; its end is counted from the clock as it is now."""
    run.answer(run.request())
    run.clock.jump(-HOUR_S)
    assert run.password(run.request()) == "pass word 2"
    assert run.approval["lastValidated"] == "2027-01-15T07:00:00.000000Z"
    assert run.approval["expires"] == "2027-01-15T08:00:00.000000Z"
    assert run.password(run.request()) == "pass word 2"


def test_the_clock_goes_forward_a_day_and_back(run: Run) -> None:
    """Two more exchanges, and nothing that lies ahead is served."""
    run.answer(run.request())
    run.clock.jump(DAY_S)
    assert run.password(run.request()) == "pass word 2"
    run.clock.jump(-DAY_S)
    assert run.password(run.request()) == "pass word 3"
    assert run.password(run.request()) == "pass word 3"


# --- orders


def test_an_order_forces_one_exchange(run: Run) -> None:
    """What was validated under it is served again; its age and its cache entry were not the point."""
    run.answer(run.request())
    order(run, "order-1", selector={"image": IMAGE})
    assert run.password(run.request()) == "pass word 2"
    assert run.approval["validatedUnder"] == ["order-1"]
    assert run.password(run.request()) == "pass word 2"
    order(run, "order-2", selector={"image": f"{HOST}/team-b/app"})
    assert run.password(run.request()) == "pass word 2"
    order(run, "order-3", selector={"all": True})
    assert run.password(run.request()) == "pass word 3"
    assert run.approval["validatedUnder"] == ["order-1", "order-2", "order-3"]


def test_a_scheduled_order_bites_at_its_time(run: Run) -> None:
    """Not before."""
    run.answer(run.request())
    order(run, "order-1", notBefore="2027-01-15T08:10:00Z")
    run.clock.advance(599)
    assert run.password(run.request()) == "pass word"
    run.clock.advance(1)
    assert run.password(run.request()) == "pass word 2"


def test_a_block_is_obeyed_before_anything_is_sent(run: Run) -> None:
    """A credential that lies ready included."""
    run.answer(run.request())
    order(run, "order-1", **BLOCK, selector={"serviceAccount": "team-a/web"})
    assert run.refusal(run.request()) == "blocked-by-order"
    (run.state / "orders" / "order-1.json").unlink()
    assert run.password(run.request()) == "pass word"
    assert len(run.cloud.asked) == 1


def test_an_order_that_can_not_be_read_stops_every_request(run: Run) -> None:
    """It may be the one that blocks."""
    run.answer(run.request())
    plant(run.state, "order-1.json", b"{")
    assert run.refusal(run.request()) == "order-unreadable"


def test_an_order_that_arrives_during_an_exchange_makes_another_one(run: Run) -> None:
    """The first one's credential was asked for before it."""
    run.cloud.during.append(lambda: order(run, "order-1"))
    assert run.password(run.request()) == "pass word 2"
    assert run.approval["validatedUnder"] == ["order-1"]
    assert (run.approval["rotations"], len(run.cloud.asked)) == (1, 2)
    [line] = run.lines()
    assert (line["event"], line["source"], line["orders"]) == ("rotated", "exchange", ["order-1"])


def test_an_order_about_others_during_an_exchange_changes_nothing(run: Run) -> None:
    """It is not in the list either: it was not there when the exchange began."""
    run.cloud.during.append(lambda: order(run, "order-1", selector={"image": f"{HOST}/team-b/app"}))
    assert run.password(run.request()) == "pass word"
    assert run.approval["validatedUnder"] == []


@pytest.mark.parametrize("early", [False, True], ids=["first", "renewal"])
def test_a_block_that_arrives_during_an_exchange_is_obeyed(early: bool, run: Run) -> None:
    """Neither the new credential leaves, nor the one that lives on; the trail tells one thing."""
    if early:
        run.answer(run.request())
        run.clock.advance(2200)
    run.cloud.during.append(lambda: order(run, "order-1", **BLOCK))
    run.lines()
    assert run.refusal(run.request()) == "blocked-by-order"
    assert run.events() == [("refused", "blocked-by-order")]
    assert run.refusal(run.request()) == "blocked-by-order"
    assert len(run.cloud.asked) == 1 + early


def test_orders_that_never_end_end_the_run(run: Run) -> None:
    """One at each of three exchanges; the next request begins with all of them."""
    run.cloud.during += [partial(order, run, f"order-{number}") for number in range(3)]
    assert run.refusal(run.request()) == "order-storm"
    assert len(run.cloud.asked) == 3
    assert run.events() == [("refused", "order-storm")]
    assert run.password(run.request()) == "pass word 4"


def test_the_approval_is_there_before_the_answer(run: Run) -> None:
    """It says what was handed out, and nothing secret."""
    response = run.answer(run.request())
    written = run.approval
    assert written["credentialHash"] == digest.credential_hash("AWS", response["auth"][IMAGE]["password"])
    assert list(written["repositories"]) == [IMAGE]
    assert "pass word" not in json.dumps(written)
    everything = b"".join(path.read_bytes() for path in run.state.rglob("*") if path.is_file())
    everything += b"".join(path.read_bytes() for path in run.runtime.rglob("*") if path.is_file())
    assert b"pass word" not in everything
    assert not list((run.runtime / "intents").iterdir())

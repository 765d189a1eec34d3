"""The line of each outcome, as it stands in the trail's file: who, what, how it ended, and what proves it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from factories import HOST, IMAGE, ROLE, make_grant, make_request
from ordering import make_document, plant
from pullpass import auditing, pipeline
from pullpass.errors import PullpassError
from pullpass.store import digest, moments
from serving import HOUR_S, Run
from support import FakeClock, make_claims, make_token

if TYPE_CHECKING:
    from pathlib import Path

    from pullpass.config import Config

WHO = {
    "cluster": "prod-1",
    "serviceAccount": {"namespace": "team-a", "name": "web", "uid": "c1b8e1a4-52c4-4d6e-b7a0-2f5f7e0d1a33"},
    "pod": "web-7c9d",
    "node": "node-1",
    "jti": "5a1c1f5e-9d2b-4a53-8a4c-6a0d3a3f2f10",
    "image": IMAGE,
    "registry": HOST,
    "grant": "team images",
    "identity": ROLE,
    "opens": "ecr:aws:111122223333:us-west-2:team-a/app",
}


def last(run: Run) -> dict[str, Any]:
    """The last line, without what chains and dates it."""
    line = run.lines()[-1]
    return {name: value for name, value in line.items() if name not in {"seq", "prev", "time"}}


def given(run: Run, number: int = 1) -> dict[str, Any]:
    """What a line says of a credential: the one of an exchange that was sent now."""
    now_s = run.clock.now_s()
    named = "pass word" if number == 1 else f"pass word {number}"
    ends_s = {"expires": now_s + HOUR_S, "registryExpires": now_s + 12 * HOUR_S}
    return {
        "source": "exchange",
        "cacheDurationS": 600,
        "credentialHash": digest.credential_hash("AWS", named),
        "principal": "arn",
        "accessKeyId": "A",
        "requestIds": [f"request-{number}"],
        **{name: moments.text(moment_s) for name, moment_s in ends_s.items()},
    }


def test_a_credential_that_was_fetched(run: Run) -> None:
    """The whole line, in its order: the chain, the event, the outcome, then who and what."""
    run.answer(run.request())
    [line] = run.lines()
    assert (line["seq"], line["prev"], line["time"]) == (1, "0" * 64, "2027-01-15T08:00:00.000000Z")
    assert list(line)[:4] == ["seq", "prev", "time", "event"]
    chained = {name: line[name] for name in ("seq", "prev", "time")}
    assert line == {**chained, "event": "issued", **given(run), **WHO, "approval": run.approval["id"]}


def test_a_credential_from_the_cache_and_one_that_took_its_place(run: Run) -> None:
    """What comes from the cache has the ends and the proof of the exchange that it came from."""
    run.answer(run.request())
    first = given(run)
    run.clock.advance(600)
    run.answer(run.request())
    approval = run.approval["id"]
    assert last(run) == {"event": "served", **first, "source": "cache", **WHO, "approval": approval}
    run.clock.advance(1600)
    run.answer(run.request())
    assert last(run) == {"event": "rotated", **given(run, 2), **WHO, "approval": approval}


def test_a_credential_in_an_outage(run: Run) -> None:
    """Its end has passed, which is to be seen; the failed exchange has a line of its own about the same request."""
    run.answer(run.request())
    first = given(run)
    run.clock.advance(2 * HOUR_S)
    run.cloud.failure = PullpassError("cloud-unreachable", "made up")
    run.answer(run.request())
    _, failed, line = run.lines()
    about = {**WHO, "approval": run.approval["id"]}
    expected = {"event": "outage", **first, "source": "outage", "cacheDurationS": 60, **about}
    assert {name: line[name] for name in expected} == expected
    wrong = {"event": "exchange-failed", "code": "cloud-unreachable", "message": "made up", **about}
    assert {name: failed[name] for name in failed if name not in {"seq", "prev", "time"}} == wrong


def test_a_denial_and_its_memory(run: Run) -> None:
    """The first is the cloud's, the second this node's."""
    run.cloud.failure = PullpassError("aws-sts-denied", "made up")
    run.refusal(run.request())
    about = {**WHO, "approval": run.approval["id"]}
    assert last(run) == {"event": "denied", "code": "aws-sts-denied", "message": "made up", **about}
    run.refusal(run.request())
    line = last(run)
    assert (
        line["message"] == "the cloud refused it at 2027-01-15T08:00:00.000000Z, which counts for approval.denied_for"
    )
    assert line == {"event": "refused", "code": "aws-sts-denied", "message": line["message"], **about}


def test_a_refusal_says_as_much_as_was_known(run: Run) -> None:
    """Nothing of a step that was not reached."""
    run.refusal(make_request(make_token(make_claims(life_s=-1))))
    line = last(run)
    assert set(line) == {"event", "code", "message", "cluster", "image"}
    assert (line["event"], line["code"]) == ("refused", "token-expired")
    run.refusal(run.request("evil.example/x"))
    assert {"registry", "grant", "identity", "approval"} & last(run).keys() == set()
    run.refusal(run.request(f"{HOST}/team-b/app"))
    line = last(run)
    assert line == {
        "event": "refused",
        "code": "no-grant",
        "message": line["message"],
        **{name: WHO[name] for name in ("cluster", "serviceAccount", "pod", "node", "jti", "registry")},
        "image": f"{HOST}/team-b/app",
    }


def test_a_request_without_a_token_has_nobody(tmp_path: Path) -> None:
    """`null` where others have a service account, refused or not."""
    run = Run(tmp_path, make_grant(node=True, service_accounts=(), identity="node"))
    run.answer(make_request())
    line = last(run)
    assert (line["serviceAccount"], line["identity"], line["event"]) == (None, "node", "issued")
    assert not {"pod", "node", "jti"} & line.keys()
    run.refusal(make_request(None, f"{HOST}/team-b/app"))
    assert last(run)["serviceAccount"] is None


def test_a_token_that_is_bound_to_nothing_more(run: Run) -> None:
    """No pod, no node, no id: the members are left out."""
    claims = make_claims()
    del claims["jti"], claims["kubernetes.io"]["pod"], claims["kubernetes.io"]["node"]
    run.answer(make_request(make_token(claims)))
    assert not {"pod", "node", "jti"} & last(run).keys()


def test_an_answer_without_a_credential(tmp_path: Path) -> None:
    """It has a line as well."""
    run = Run(tmp_path, make_grant(identity="anonymous"))
    run.answer(run.request())
    expected = {name: value for name, value in WHO.items() if name != "opens"} | {"identity": "anonymous"}
    assert last(run) == {"event": "anonymous", "cacheDurationS": 600, **expected}


@pytest.mark.parametrize("image", [f"{HOST}/team-b/app", "public.ecr.aws/docker/library/busybox"])
def test_what_only_the_migration_mode_gives(image: str, tmp_path: Path) -> None:
    """`would-refuse`, with a credential or, of a public image whose password can't be had, without one."""
    run = Run(tmp_path, unmatched="node")
    if image.startswith("public"):
        run.cloud.failure = PullpassError("cloud-unreachable", "made up")
    run.answer(run.request(image))
    line = last(run)
    assert (line["event"], line["grant"], line["identity"]) == ("would-refuse", "", "node")
    assert ("credentialHash" in line) == ("source" in line) == (not image.startswith("public"))


def test_a_second_hop_and_orders_are_named(tmp_path: Path) -> None:
    """Whose hop, and under which orders."""
    run = Run(tmp_path, make_grant(via="arn:aws:iam::444455556666:role/second"))
    plant(run.state, "order-2.json", make_document("order-2"))
    plant(run.state, "order-1.json", make_document("order-1", selector={"image": IMAGE}))
    plant(run.state, "order-3.json", make_document("order-3", selector={"image": f"{HOST}/team-b/app"}))
    run.answer(run.request())
    line = last(run)
    assert (line["via"], line["orders"]) == ("arn:aws:iam::444455556666:role/second", ["order-1", "order-2"])


def test_what_the_cloud_does_not_say_is_left_out(run: Run) -> None:
    """A credential without a principal or an access key."""
    load = run.cloud.load

    def bare(kind: str) -> Any:
        return lambda *given: load(kind)(*given)._replace(principal="", access_key_id="", request_ids=())

    answer = pipeline.serve(run.request(), pipeline.Deps(lambda: run.config, run.clock, bare))
    assert answer.status == 0
    line = last(run)
    assert not {"principal", "accessKeyId"} & line.keys()
    assert line["requestIds"] == []


def test_text_from_outside_is_cut_and_escaped(run: Run) -> None:
    """A name can't make a line of its own, nor one that nobody can read."""
    odd = "evil.example/\u2028" + "x" * 5000
    run.refusal(run.request(odd))
    image = last(run)["image"]
    assert image.startswith("evil.example/\\u2028xxx")
    assert len(image) <= 512
    raw = b"".join(path.read_bytes() for path in (run.state / "audit").glob("*.jsonl"))
    assert raw.isascii()


def test_no_secret_is_in_the_trail(run: Run) -> None:
    """Neither the password nor the token or a part of its signature, whatever the outcome."""
    sent = run.request()
    run.answer(sent)
    run.answer(sent)
    run.clock.advance(2200)
    run.cloud.failure = PullpassError("aws-token-expired", "made up")
    run.answer(sent)
    run.clock.advance(HOUR_S)
    run.refusal(sent)
    token = str(json.loads(sent)["serviceAccountToken"])
    raw = b"".join(path.read_bytes() for path in (run.state / "audit").iterdir()).decode()
    fragments = {part[at : at + 16] for part in token.split(".") for at in range(len(part) - 15)}
    assert not [fragment for fragment in fragments if fragment in raw]
    assert "pass word" not in raw
    assert raw.count("\n") == 6


@pytest.mark.parametrize("event", ["issued", "rotated", "denied", "order"])
def test_what_must_outlast_a_power_failure(event: str) -> None:
    """What was newly given or taken; a line beside it is synced along."""
    assert auditing.must_sync([{"event": "warning"}, {"event": event}])


@pytest.mark.parametrize("event", ["served", "refused", "anonymous", "outage", "exchange-failed", "recovered"])
def test_what_only_repeats_it_is_not_waited_for(event: str) -> None:
    """A disk is waited for in milliseconds, a cache hit takes less."""
    assert not auditing.must_sync([{"event": event}])


def test_the_configuration_of_a_bad_request_is_read_once_more(run: Run) -> None:
    """The run did not come so far; there is one line all the same."""
    read: list[str] = []

    def load_config() -> Config:
        read.append("")
        return run.config

    pipeline.serve(b"{", pipeline.Deps(load_config, FakeClock(), run.cloud.load))
    assert read == [""]
    assert {name: value for name, value in last(run).items() if name != "message"} == {
        "event": "refused",
        "code": "request-syntax",
        "cluster": "prod-1",
    }


def test_of_many_orders_some_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    """A thousand of them in every line would fill the disk; the approval has them all."""
    run = Run(tmp_path)
    for number in range(25):
        plant(run.state, f"order-{number:02}.json", make_document(f"order-{number:02}"))
    run.answer(run.request())
    line = last(run)
    assert (line["orders"], line["ordersMore"]) == ([f"order-{number:02}" for number in range(20)], 5)
    assert len(run.approval["validatedUnder"]) == 25

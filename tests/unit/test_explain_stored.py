"""Explaining what the store holds: served or not, by which rule, and that looking changes nothing."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from factories import HOST, IMAGE, make_grant, make_request
from ordering import make_document, plant
from pullpass import explain
from pullpass.errors import PullpassError
from serving import Run
from support import make_token, public_jwk

if TYPE_CHECKING:
    from pathlib import Path

OTHER = f"{HOST}/team-a/other"
PUBLIC = "public.ecr.aws/docker/library/busybox"
STEPS = [
    "request.parse", "config.load", "identity.read", "registry.match", "policy.decide",
    "orders", "plan.make", "stored", "token.verify", "exchange.load",
]  # fmt: skip


def files(directory: Path) -> dict[str, bytes]:
    """Every file and directory below one, with what is in it."""
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in directory.rglob("*")}


def look(run: Run, raw: bytes | None = None) -> dict[str, Any]:
    """Explain a request where files may stand, and see that they stay as they are."""
    before = files(run.state.parent)
    status, document = explain.explain(raw or run.request(), run.deps)
    assert files(run.state.parent) == before
    assert (status == 0) == (document["verdict"] != "refuse")
    assert json.loads(json.dumps(document)) == document
    shown = json.dumps(document) + explain.text(document)
    assert run.cloud.password not in shown
    assert [step["step"] for step in document["steps"]] == STEPS
    return document


def step(document: dict[str, Any], name: str) -> tuple[str, str]:
    """Outcome and detail of a step."""
    return next((item["outcome"], item["detail"]) for item in document["steps"] if item["step"] == name)


def test_a_node_without_state_stays_without(tmp_path: Path) -> None:
    """Nothing is made, and an exchange is due."""
    document = look(Run(tmp_path / "node"))
    assert (document["verdict"], document["source"], document["approval"]) == ("issue", "exchange", None)
    assert (document["orders"], len(document["calls"])) == ([], 2)
    assert step(document, "orders") == ("ok", "none is in force")
    assert step(document, "stored") == ("ok", "no approval can be used: an exchange is due")
    assert os.listdir(tmp_path) == []


def test_a_living_approval_is_served_from_the_cache(tmp_path: Path) -> None:
    """Nothing would be sent, and what an exchange alone needs is not looked at."""
    run = Run(tmp_path)
    run.answer(run.request())
    document = look(run)
    assert (document["verdict"], document["source"], document["calls"]) == ("issue", "cache", [])
    approval = document["approval"]
    assert (approval["standing"], approval["id"]) == ("living", document["key"])
    assert approval["expires"] == run.approval["expires"]
    assert step(document, "stored") == (
        "ok",
        f"the approval lives until {run.approval['expires']}: served from the cache",
    )
    assert step(document, "token.verify") == step(document, "exchange.load") == ("not reached", "")
    assert "  source          cache\n" in explain.text(document)
    assert len(run.cloud.asked) == 1


def test_another_repository_is_added_to_a_living_approval(tmp_path: Path) -> None:
    """A credential that opens more than one is used for the next without an exchange, which is said."""
    run = Run(tmp_path, make_grant(identity="node"))
    run.answer(run.request())
    document = look(run, run.request(OTHER))
    assert (document["source"], document["calls"]) == ("cache", [])
    assert step(document, "stored")[1].endswith("served from the cache, and the repository is added to it")
    assert len(run.cloud.asked) == 1


def test_a_renewal_that_is_due_is_an_exchange(tmp_path: Path) -> None:
    """Half of the life is gone."""
    run = Run(tmp_path)
    run.answer(run.request())
    run.clock.advance(0.62 * 3600)
    document = look(run)
    assert (document["source"], len(document["calls"])) == ("exchange", 2)
    assert ", and was to be renewed from 2027-01-15T08:" in step(document, "stored")[1]


def test_a_renewal_that_would_fail_here_leaves_the_living_credential(tmp_path: Path) -> None:
    """As `renewal` does it: a signature that does not fit is no refusal while something lives."""
    run = Run(tmp_path)
    run.answer(run.request())
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [public_jwk("RS256")]}))
    run.config = run.config._replace(node=run.config.node._replace(jwks=str(jwks)))
    run.clock.advance(0.62 * 3600)
    document = look(run)
    assert (document["verdict"], document["source"], document["calls"]) == ("issue", "cache", [])
    outcome, detail = step(document, "token.verify")
    assert outcome == "refused"
    assert detail.endswith("; the credential that still lives is used on")
    assert step(document, "exchange.load") == ("not reached", "")
    assert run.serve(run.request()).status == 0
    run.clock.advance(3600)
    document = look(run)
    assert (document["verdict"], document["code"], document["source"]) == ("refuse", "token-signature", None)
    assert run.refusal(run.request()) == "token-signature"


ENDS = "2027-01-15T09:00:00.000000Z"
USED_UNTIL = ": an exchange is due; should the cloud be out of reach, it is used until 2027-01-15T13:00:00.000000Z"


@pytest.mark.parametrize(
    ("after_s", "damage", "said"),
    [
        pytest.param(3600, "", f"stood until {ENDS}{USED_UNTIL}", id="too old"),
        pytest.param(3580, "", f"stands until {ENDS}{USED_UNTIL}", id="all but over"),
        pytest.param(8 * 3600, "", "is expired: an exchange is due", id="past an outage"),
        pytest.param(-60, "", "is dated in the future: an exchange is due", id="clock set back"),
        pytest.param(60, "cache", "the cache has no credential for it", id="no entry"),
        pytest.param(60, "damaged", "does not open", id="damaged entry"),
        pytest.param(60, "approval", "approvals/", id="unreadable approval"),
    ],
)
def test_whatever_is_of_no_use_means_an_exchange(tmp_path: Path, after_s: float, damage: str, said: str) -> None:
    """Each reason is named."""
    run = Run(tmp_path)
    run.answer(run.request())
    run.clock.advance(after_s)
    if damage == "cache":
        run.cache_path.unlink()
    elif damage == "damaged":
        run.cache_path.write_bytes(run.cache_path.read_bytes()[:-1])
    elif damage == "approval":
        run.approval_path.write_text("{")
    document = look(run)
    assert (document["verdict"], document["source"]) == ("issue", "exchange")
    assert said in step(document, "stored")[1]
    assert (document["approval"] is None) == (damage == "approval")


def test_a_denial_is_refused_as_long_as_it_counts(tmp_path: Path) -> None:
    """With the cloud's own code, and no call; afterwards the cloud would be asked again."""
    run = Run(tmp_path)
    run.cloud.failure = PullpassError("aws-sts-denied", "no")
    assert run.refusal(run.request()) == "aws-sts-denied"
    document = look(run)
    assert (document["verdict"], document["code"], document["source"]) == ("refuse", "aws-sts-denied", None)
    assert step(document, "stored") == ("refused", document["message"])
    assert (document["approval"]["state"], document["approval"]["deniedCode"]) == ("denied", "aws-sts-denied")
    assert document["calls"] == []
    assert run.refusal(run.request()) == document["code"]
    run.clock.advance(31)
    document = look(run)
    assert (document["verdict"], document["source"]) == ("issue", "exchange")
    assert "counts no more" in step(document, "stored")[1]


def test_a_denial_costs_a_public_image_its_credential_only(tmp_path: Path) -> None:
    """What get-credentials answers without a credential is explained as that."""
    run = Run(tmp_path, make_grant(images=("public.ecr.aws/**",)))
    run.cloud.failure = PullpassError("aws-sts-denied", "no")
    assert run.answer(run.request(PUBLIC))["auth"] == {}
    document = look(run, run.request(PUBLIC))
    assert (document["verdict"], document["code"], document["calls"]) == ("anonymous", None, [])
    assert "it is answered without a credential: the cloud refused it" in step(document, "stored")[1]


def test_orders_are_a_step(tmp_path: Path) -> None:
    """Those about the request are named, a block refuses at once, and an unreadable one stops it."""
    run = Run(tmp_path)
    run.answer(run.request())
    plant(run.state, "elsewhere.json", make_document("elsewhere", selector={"serviceAccount": "team-z/*"}))
    assert step(look(run), "orders") == ("ok", "none of the 1 in force is about it")
    plant(run.state, "again.json", make_document("again"))
    document = look(run)
    assert (document["orders"], document["source"]) == (["again"], "exchange")
    assert step(document, "orders") == ("ok", "it must have been validated under again")
    assert "is voided by an order" in step(document, "stored")[1]
    run.answer(run.request())
    assert look(run)["source"] == "cache"
    plant(run.state, "stop.json", make_document("stop", action="block"))
    document = look(run)
    assert (document["code"], document["orders"], document["key"]) == ("blocked-by-order", None, None)
    assert step(document, "orders") == ("refused", document["message"])
    assert step(document, "plan.make") == ("not reached", "")
    plant(run.state, "stop.json", b"{")
    assert look(run)["code"] == "order-unreadable"


def test_a_state_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """As get-credentials refuses it."""
    run = Run(tmp_path)
    run.answer(run.request())
    (run.state / "approvals").chmod(0o777)
    document = look(run)
    assert (document["code"], document["approval"]) == ("state-path", None)
    assert step(document, "stored") == ("refused", document["message"])
    assert run.refusal(run.request()) == "state-path"


def test_an_anonymous_answer_looks_nothing_up(tmp_path: Path) -> None:
    """There is no approval of one."""
    run = Run(tmp_path, make_grant(identity="anonymous"))
    document = look(run, make_request(make_token(), IMAGE))
    assert (document["verdict"], document["source"], document["orders"]) == ("anonymous", None, [])
    assert step(document, "stored") == ("not reached", "")

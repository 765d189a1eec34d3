"""Explaining: every step and the verdict, also on a refusal, and never a secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from factories import HOST, IMAGE, ROLE, make_config, make_grant, make_paths, make_request
from pullpass import explain, pipeline
from support import NOW_S, FakeClock, make_claims, make_token, public_jwk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pullpass.config import Config

    Explain = Callable[..., tuple[int, dict[str, Any]]]

KEYS = {
    "verdict", "code", "message", "hint", "image", "subject", "target",
    "grant", "identity", "principal", "opens", "key", "orders", "approval", "source", "notes", "steps", "calls",
}  # fmt: skip


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Explain:
    """Explains one request; an exchanger that is asked for, or a file that is written, fails the test."""
    place = tmp_path / "node"

    def load(kind: str) -> Any:
        raise AssertionError(kind)

    def run(raw: bytes, config: Config | None = None) -> tuple[int, dict[str, Any]]:
        used = (config or make_config())._replace(paths=make_paths(place))
        status, document = explain.explain(raw, pipeline.Deps(lambda: used, FakeClock(), load))
        assert set(document) == KEYS
        assert json.loads(json.dumps(document)) == document
        assert not place.exists()
        return status, document

    return run


def outcomes(document: dict[str, Any]) -> list[str]:
    """The outcome of each step, in order."""
    return [step["outcome"] for step in document["steps"]]


def test_a_request_that_would_be_answered(run: Explain) -> None:
    """The document says who asks, for what, by which grant, as whom, and which calls would be made."""
    status, document = run(make_request(make_token(), annotations={"a.example/role": "x"}))
    assert (status, document["verdict"], document["code"]) == (0, "issue", None)
    assert document["image"] == IMAGE
    assert (document["subject"]["namespace"], document["subject"]["service_account"]) == ("team-a", "web")
    assert document["subject"]["expires"] == "2027-01-15T09:00:00Z"
    assert (document["target"]["account"], document["target"]["region"]) == ("111122223333", "us-west-2")
    assert (document["grant"], document["identity"]) == ("team images", ROLE)
    assert document["opens"] == "ecr:aws:111122223333:us-west-2:team-a/app"
    assert len(document["key"]) == 64
    assert outcomes(document) == ["ok"] * 10
    assert "annotations: a.example/role" in document["steps"][0]["detail"]
    assert "left to the cloud" in document["steps"][8]["detail"]
    assert [(call["action"], call["url"]) for call in document["calls"]] == [
        ("sts:AssumeRoleWithWebIdentity", "https://sts.us-west-2.amazonaws.com"),
        ("ecr:GetAuthorizationToken", "https://api.ecr.us-west-2.amazonaws.com"),
    ]


def test_the_key_depends_on_the_identity_and_not_on_the_token(run: Explain) -> None:
    """Two tokens of one service account are one key; another role, repository or cluster is another."""
    keys = [run(make_request(make_token(make_claims(life_s=life_s))))[1]["key"] for life_s in (600, 3600)]
    assert keys[0] == keys[1]
    config = make_config(make_grant(identity=f"{ROLE}-2"))
    elsewhere = make_config()._replace(node=make_config().node._replace(cluster="prod-2"))
    others = [
        run(make_request(make_token()), config)[1]["key"],
        run(make_request(make_token()), elsewhere)[1]["key"],
        run(make_request(make_token(), f"{HOST}/team-a/other"))[1]["key"],
        run(make_request(make_token(make_claims(service_account="api"))))[1]["key"],
    ]
    assert len({keys[0], *others}) == 5


@pytest.mark.parametrize(
    ("raw", "code", "status", "ok"),
    [
        pytest.param(b"", "request-empty", 2, 0, id="nothing"),
        pytest.param(make_request(make_token(make_claims(life_s=-60))), "token-expired", 3, 2, id="expired"),
        pytest.param(make_request(make_token(), "evil.example/x"), "registry-unknown", 3, 3, id="foreign registry"),
        pytest.param(make_request(make_token(make_claims(audience="x"))), "token-audience", 3, 4, id="audience"),
        pytest.param(make_request(make_token(), f"{HOST}/team-b/app"), "no-grant", 3, 4, id="no grant"),
        pytest.param(make_request(), "no-grant", 3, 4, id="no token"),
    ],
)
def test_a_refusal_shows_how_far_it_came(raw: bytes, code: str, status: int, ok: int, run: Explain) -> None:
    """The steps before the refusal are shown with what they found, and those after it as not reached."""
    found_status, document = run(raw)
    assert (found_status, document["verdict"]) == (status, "refuse")
    assert document["code"] == code
    assert outcomes(document)[:ok] == ["ok"] * ok
    assert outcomes(document)[ok] == "refused"
    assert set(outcomes(document)[ok + 1 :]) <= {"not reached"}
    assert document["steps"][ok]["detail"] == document["message"]
    assert document["hint"]
    assert document["calls"] == []


def test_an_anonymous_answer(run: Explain) -> None:
    """Nothing would be sent."""
    status, document = run(make_request(make_token()), make_config(make_grant(identity="anonymous")))
    assert (status, document["verdict"], document["identity"]) == (0, "anonymous", "anonymous")
    assert (document["key"], document["calls"]) == (None, [])
    assert "nothing is sent" in document["steps"][6]["detail"]


def test_the_nodes_identity_is_said_to_be_wider(run: Explain) -> None:
    """With and without a token, the notes say whose credential it is, what it opens, and how the kubelet records it."""
    under_account = run(make_request(make_token()), make_config(make_grant(identity="node")))[1]
    assert (under_account["verdict"], under_account["identity"]) == ("issue", "node")
    assert "not limited to the repository" in under_account["notes"][0]
    assert "under the service account" in under_account["notes"][1]
    static = run(make_request(), make_config(make_grant(node=True, service_accounts=(), identity="node")))[1]
    assert static["opens"] == "ecr:aws:111122223333:us-west-2"
    assert "every pod of the node" in static["notes"][1]
    text = explain.text(static)
    assert all(f"  note            {note}\n" in text for note in static["notes"])


def test_a_second_hop_is_limited_to_the_repository(run: Explain) -> None:
    """The notes of a hop from the node's identity claim no more than is true, and a plain role needs none."""
    hop = run(make_request(make_token()), make_config(make_grant(identity="node", via=ROLE)))[1]
    assert "not limited" not in hop["notes"][0]
    assert run(make_request(make_token()))[1]["notes"] == []


@pytest.mark.parametrize("token", [True, False])
def test_the_migration_mode_says_what_would_be_refused(token: bool, run: Explain) -> None:
    """`would-refuse` is the code of an answer that no grant gives, and the exit status is that of an answer."""
    raw = make_request(make_token() if token else None, f"{HOST}/team-b/app")
    status, document = run(raw, make_config(unmatched="node"))
    assert (status, document["verdict"], document["code"]) == (0, "issue", "would-refuse")
    assert (document["grant"], document["identity"]) == ("", "node")
    assert "would-refuse: no grant matches" in document["steps"][4]["detail"]
    assert explain.text(document).splitlines()[-1] == "verdict: issue (would-refuse)"


def test_the_migration_mode_opens_no_foreign_host(run: Explain) -> None:
    """A host that is not ours is refused all the same."""
    status, document = run(make_request(make_token(), "evil.example/x"), make_config(unmatched="node"))
    assert (status, document["code"]) == (3, "registry-unknown")


def test_a_public_image_of_another_partition_is_anonymous(run: Explain) -> None:
    """A role outside partition `aws` has no password for ECR Public, so nothing would be sent."""
    grant = make_grant(images=("public.ecr.aws/**",), identity="arn:aws-cn:iam::111122223333:role/pull")
    status, document = run(make_request(make_token(), "public.ecr.aws/docker/library/busybox"), make_config(grant))
    assert (status, document["verdict"], document["calls"]) == (0, "anonymous", [])
    assert "of partition aws-cn" in document["steps"][6]["detail"]


def test_the_signature_is_checked_where_keys_are_given(tmp_path: Path, run: Explain) -> None:
    """With `node.jwks` a wrong signature is a refusal here too, and a right one is said to be right."""
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [public_jwk("ES256")]}))
    config = make_config()
    config = config._replace(node=config.node._replace(jwks=str(path)))
    _, document = run(make_request(make_token()), config)
    assert document["verdict"] == "issue"
    assert "signature is valid" in document["steps"][8]["detail"]
    status, document = run(make_request(make_token(alg="RS256")), config)
    assert (status, document["code"]) == (3, "token-signature")
    assert outcomes(document) == ["ok"] * 8 + ["refused", "not reached"]
    assert document["calls"] == []


def test_no_secret_is_in_the_explanation(run: Explain) -> None:
    """Neither the document nor the text has the token or a part of its signature."""
    token = make_token()
    for image in (IMAGE, "evil.example/x"):
        _, document = run(make_request(token, image))
        shown = json.dumps(document) + explain.text(document)
        fragments = {part[at : at + 16] for part in token.split(".") for at in range(len(part) - 15)}
        assert not [fragment for fragment in fragments if fragment in shown]


def test_the_text_is_one_fact_a_line(run: Explain) -> None:
    """Every step, the calls and the verdict; what comes from outside can't write lines of its own."""
    lines = explain.text(run(make_request(make_token()))[1]).splitlines()
    assert [line[0] for line in lines[:10]] == ["+"] * 10
    assert lines[-1] == "verdict: issue"
    assert sum(line.startswith("  would send ") for line in lines) == 2
    text = explain.text(run(make_request(make_token(), "evil.example/x\u2028verdict: issue"))[1])
    assert not any(line.startswith("verdict: issue") for line in text.splitlines())
    assert text.splitlines()[-1].startswith("next: ")
    assert "verdict: refuse (" in text.splitlines()[-2]


def test_a_defect_is_explained_as_one() -> None:
    """A bug below does not end in a traceback either."""

    def load_config() -> Config:
        raise RuntimeError("secret")

    status, document = explain.explain(make_request(make_token()), pipeline.Deps(load_config, FakeClock()))
    assert (status, document["code"]) == (6, "internal")
    assert "secret" not in json.dumps(document)


@pytest.mark.parametrize(
    ("token", "code"),
    [
        pytest.param({"alg": "ES384"}, "gcp-token-algorithm", id="algorithm"),
        pytest.param({"claims": {"iat": int(NOW_S) - 25 * 3600}}, "gcp-token-age", id="age"),
    ],
)
def test_what_google_takes_from_nobody_is_refused_here_too(token: dict[str, Any], code: str, run: Explain) -> None:
    """A token that Google would refuse whoever it is for is refused by explain as by the launcher."""
    config = make_config(make_grant(images=("gcr.io/proj/**",), identity="principal"))
    audience = config.gcr.audience if config.gcr else ""
    claims = make_claims(audience=audience) | token.pop("claims", {})
    status, document = run(make_request(make_token(claims, **token), "gcr.io/proj/app"), config)
    assert (status, document["code"]) == (3, code)
    assert run(make_request(make_token(make_claims(audience=audience)), "gcr.io/proj/app"), config)[0] == 0


def test_a_static_pod_has_no_token_to_look_at(run: Explain) -> None:
    """Nothing is said about a signature where there is no token."""
    config = make_config(make_grant(node=True, service_accounts=(), identity="node"))
    assert run(make_request(), config)[1]["steps"][8]["detail"] == "there is no token"


def test_google_is_asked_as_somebody_who_is_named(run: Explain) -> None:
    """The principal that IAM must know stands there in full, and the e-mail for an impersonation."""
    config = make_config(make_grant(images=("gcr.io/proj/**",), identity="principal"))
    audience = config.gcr.audience if config.gcr else ""
    raw = make_request(make_token(make_claims(audience=audience)), "gcr.io/proj/app")
    document = run(raw, config)[1]
    assert document["principal"].startswith("principal://iam.googleapis.com/projects/123/")
    assert "/subject/system:serviceaccount:team-a:web" in document["principal"]
    assert f"  principal       {document['principal']}\n" in explain.text(document)
    assert run(make_request(make_token()))[1]["principal"] is None

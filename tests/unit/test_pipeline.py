"""The pipeline: what is answered, for how long, and what a refusal looks like. The cloud is a fake exchanger."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from factories import HOST, IMAGE, ROLE, make_grant, make_request
from pullpass import pipeline
from pullpass.errors import CODES, PullpassError
from serving import FakeCloud, Run
from support import FakeClock, make_claims, make_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pullpass.config import Config

    Start = Callable[..., Run]


@pytest.fixture(name="start")
def _start(tmp_path: Path) -> Callable[..., Run]:
    """Makes runs, each in a directory of its own."""
    return lambda *grants, **fields: Run(tmp_path / str(len(list(tmp_path.iterdir()))), *grants, **fields)


def request() -> bytes:
    """A request of team-a/web for `IMAGE`."""
    return make_request(make_token())


def test_an_answer_has_the_credential_for_exactly_that_image(start: Start) -> None:
    """The response is the whole of what the cloud gave for this plan, under the image's own key."""
    run = start()
    sent = make_token()
    assert run.answer(make_request(sent)) == {
        "kind": "CredentialProviderResponse",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "cacheKeyType": "Image",
        "cacheDuration": "600s",
        "auth": {IMAGE: {"username": "AWS", "password": "pass word"}},
    }
    [(kind, plan, token, remaining_s)] = run.cloud.asked
    assert (kind, plan.identity, plan.opens) == ("ecr", ROLE, "ecr:aws:111122223333:us-west-2:team-a/app")
    assert token == sent
    assert remaining_s == 45.0


@pytest.mark.parametrize(
    ("approval", "cloud", "duration"),
    [
        pytest.param({}, FakeCloud(), "600s", id="recheck is the upper bound"),
        pytest.param({"recheck_s": 7200.0}, FakeCloud(), "3480s", id="max_age less margin"),
        pytest.param(
            {"recheck_s": 7200.0, "max_age_s": 86400.0}, FakeCloud(session_s=1800), "1680s", id="session life"
        ),
        pytest.param({"recheck_s": 7200.0, "max_age_s": 86400.0}, FakeCloud(life_s=900), "780s", id="password life"),
        pytest.param({}, FakeCloud(session_s=121.9), "1s", id="whole seconds, rounded down"),
        pytest.param({}, FakeCloud(session_s=100), "0s", id="never below zero"),
        pytest.param({"recheck_s": 7200.0}, FakeCloud(takes_s=20), "3460s", id="counted after the wait"),
        pytest.param({"recheck_s": 1.5}, FakeCloud(), "1s", id="recheck in fractions"),
    ],
)
def test_the_cache_duration(approval: dict[str, float], cloud: FakeCloud, duration: str, start: Start) -> None:
    """Min of recheck and what is left of the approval less the margin."""
    run = start(cloud=cloud)
    run.set(**approval)
    assert run.answer(request())["cacheDuration"] == duration


def test_an_approval_is_dated_before_the_exchange_and_the_life_counted_after_it(start: Start) -> None:
    """A slow cloud makes neither the approval longer nor a dying credential acceptable."""
    slow = FakeCloud(session_s=60, takes_s=40)
    answer = start(cloud=slow).serve(request())
    assert answer.status == 4
    assert answer.stderr.startswith(b"pullpass: credential-too-short: the cloud's fresh credential ends in 20s")
    assert start(cloud=FakeCloud(session_s=60, takes_s=30)).serve(request()).status == 0


def test_a_password_that_is_the_token_never_leaves(start: Start) -> None:
    """A cloud that gives back what it was sent would hand a pod's identity to a registry."""
    cloud = FakeCloud()
    token = make_token()
    cloud.password = f"x{token}"
    answer = start(cloud=cloud).serve(make_request(token))
    assert (answer.status, answer.stdout) == (4, b"")
    assert answer.stderr.startswith(b"pullpass: credential-echo: ")
    assert token.encode() not in answer.stderr


def test_anonymous_is_an_answer_without_a_credential(start: Start) -> None:
    """Nothing is exchanged, and the kubelet asks again after `recheck`."""
    run = start(make_grant(identity="anonymous"))
    response = run.answer(request())
    assert response["cacheDuration"] == "600s"
    assert not response.get("auth")
    assert run.cloud.asked == []


def test_a_static_pod_gets_an_anonymous_answer_without_a_token(start: Start) -> None:
    """A request without a token needs no token for an answer without a credential."""
    run = start(make_grant(node=True, service_accounts=(), identity="anonymous"))
    assert not run.answer(make_request()).get("auth")


@pytest.mark.parametrize(
    ("raw", "code", "status"),
    [
        pytest.param(b"", "request-empty", 2, id="nothing"),
        pytest.param(make_request("no token"), "token-malformed", 2, id="no JWT"),
        pytest.param(make_request(make_token(make_claims(life_s=-1))), "token-expired", 3, id="expired"),
        pytest.param(make_request(make_token(make_claims(issuer="https://else.test"))), "token-issuer", 3, id="issuer"),
        pytest.param(make_request(make_token(make_claims(audience="sts"))), "token-audience", 3, id="audience"),
        pytest.param(
            make_request(make_token(), "evil.example/team-a/app"), "registry-unknown", 3, id="foreign registry"
        ),
        pytest.param(make_request(make_token(), f"{HOST}/team-b/app"), "no-grant", 3, id="no grant"),
        pytest.param(make_request(None), "no-grant", 3, id="no token"),
        pytest.param(make_request(make_token(), "gcr.io/proj/app"), "token-audience", 3, id="the ECR token for Google"),
    ],
)
def test_a_refusal_is_one_line_and_nothing_is_sent(raw: bytes, code: str, status: int, start: Start) -> None:
    """A non-zero status, nothing on stdout, one line with code and hint on stderr, no call."""
    run = start()
    answer = run.serve(raw)
    assert (answer.status, answer.stdout) == (status, b"")
    line = answer.stderr.decode()
    assert line.startswith(f"pullpass: {code}: ")
    assert line.count("\n") == 1
    assert "; " in line
    assert run.cloud.asked == []


def test_a_kind_of_registry_that_is_not_configured_is_refused(start: Start) -> None:
    """Both sections are optional, and the refusal names the missing one."""
    ecr = start(ecr=None).serve(request())
    assert (ecr.status, b"[ecr]" in ecr.stderr) == (3, True)
    google = start(gcr=None).serve(make_request(make_token(), "gcr.io/proj/app"))
    assert google.stderr.startswith(b"pullpass: registry-not-configured: gcr.io needs the section [gcr]")


def test_what_can_not_be_planned_is_refused(start: Start) -> None:
    """A grant's role of another partition opens nothing here, and nothing is sent."""
    run = start(make_grant(identity="arn:aws-cn:iam::111122223333:role/pull"))
    answer = run.serve(request())
    assert (answer.status, answer.stderr.split(b":")[1]) == (3, b" role-partition")
    assert run.cloud.asked == []


def test_a_configuration_error_is_an_answer() -> None:
    """The configuration is read within the run, so that its errors look like all others."""

    def load_config() -> Config:
        raise PullpassError("usage", "made up")

    answer = pipeline.serve(request(), pipeline.Deps(load_config, FakeClock()))
    assert (answer.status, answer.stderr) == (2, b"pullpass: usage: made up; see `pullpass --help`\n")


def test_the_clouds_refusal_is_passed_on(start: Start) -> None:
    """An error of the exchanger keeps its code and status."""
    run = start()
    run.cloud.failure = PullpassError("deadline-exceeded", "STS did not answer")
    answer = run.serve(request())
    assert (answer.status, answer.stdout) == (5, b"")
    assert answer.stderr.startswith(b"pullpass: deadline-exceeded: STS did not answer; ")


PUBLIC_IMAGE = "public.ecr.aws/docker/library/busybox"


def public_run(start: Start, failure: Exception | None, **approval: float) -> Run:
    """A run whose grant is for ECR Public."""
    run = start(make_grant(images=("public.ecr.aws/**",)))
    run.set(**approval)
    run.cloud.failure = failure
    return run


@pytest.mark.parametrize("code", ["aws-sts-denied", "aws-token-expired", "cloud-unreachable", "cloud-answer"])
def test_a_public_image_does_not_fail_with_the_cloud(code: str, start: Start) -> None:
    """Whatever the cloud says, ECR Public's images can be pulled without a password; the kubelet asks again soon."""
    response = public_run(start, PullpassError(code, "made up")).answer(make_request(make_token(), PUBLIC_IMAGE))
    assert not response.get("auth")
    assert response["cacheDuration"] == "60s"
    again = public_run(start, PullpassError(code, "made up"), recheck_s=20.0)
    assert again.answer(make_request(make_token(), PUBLIC_IMAGE))["cacheDuration"] == "20s"


def test_what_is_not_the_clouds_fails_for_a_public_image_too(start: Start) -> None:
    """A defect, and a token that is at fault here, are no reason to answer."""
    assert public_run(start, ValueError("x")).serve(make_request(make_token(), PUBLIC_IMAGE)).status == 6
    late = make_request(make_token(make_claims(life_s=-1)), PUBLIC_IMAGE)
    assert public_run(start, None).serve(late).status == 3


def test_a_defect_shows_its_place_and_no_values(start: Start) -> None:
    """A bug's message may quote a secret, so only its type and place are told."""
    run = start()
    run.cloud.failure = ValueError("the password is hunter2")
    answer = run.serve(request())
    assert answer.status == CODES["internal"][0]
    assert b"internal: ValueError at " in answer.stderr
    assert b"serving.py:" in answer.stderr
    assert b"hunter2" not in answer.stderr
    assert answer.stderr.count(b"\n") == 1


def test_a_defect_that_was_never_raised_has_no_place() -> None:
    """An exception without a traceback is told by its type."""
    assert pipeline.as_failure(KeyError("x")).what == "KeyError"


def test_the_deadline_counts_from_the_start_of_the_run(start: Start) -> None:
    """What reading the configuration takes is taken from the exchange."""
    run = start()

    def load_config() -> Config:
        run.clock.advance(15.0)
        return run.config

    answer = pipeline.serve(request(), pipeline.Deps(load_config, run.clock, run.cloud.load))
    assert answer.status == 0
    assert [remaining_s for *_, remaining_s in run.cloud.asked] == [30.0]


def test_the_token_is_read_twice_before_it_is_sent(tmp_path: Path, start: Start) -> None:
    """A signature that `node.jwks` does not know stops the run before the exchange."""
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": []}))
    run = start()
    run.config = run.config._replace(node=run.config.node._replace(jwks=str(keys)))
    answer = run.serve(request())
    assert answer.status in {2, 3}
    assert run.cloud.asked == []

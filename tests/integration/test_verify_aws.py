"""`scripts/verify-cloud aws` against the local cloud: each verdict, whichever it must be."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from cloud import role_arn
from cloud.world import pull_document
from integration.verifying import AWS_IMAGES, HOST, brief, point, verdicts
from pullpass.clock import SystemClock
from verify import aws
from verify.names import NetworkProbe, Presence

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloud import Cloud
    from integration.verifying import Place, TravellingClock
    from verify.names import Probe

CONFIRMED = dict.fromkeys((claim.name for claim in aws.CLAIMS), "confirmed")


def test_aws_confirms_everything(place: Place) -> None:
    """With a cloud as the documents describe it and the patience to wait, every claim is confirmed."""
    document = place.aws("--wait")
    assert verdicts(document) == CONFIRMED
    assert document["settled"] is True
    assert brief(document, "repository-scope") == ("limited: A 200, B 403 DENIED; with the role's rights: B 200")
    assert brief(document, "stated-expiry") == "stated 720m, session 15m"
    assert any(re.fullmatch(r"waiting 16m \d+s for the session to end", line) for line in place.told)


def test_aws_sends_what_pullpass_sends(place: Place) -> None:
    """Two sessions of 15 minutes by the configured identity, one limited by a policy and one not; two passwords."""
    place.aws()
    limited, wide = [request.parameters for request in place.cloud.requests("sts")]
    assert json.loads(limited["Policy"])["Statement"][1]["Resource"].endswith("repository/team-a/app")
    assert "Policy" not in wide
    for sent in (limited, wide):
        assert (sent["DurationSeconds"], sent["RoleArn"]) == ("900", role_arn("pull-team-a"))
        assert sent["RoleSessionName"] == "prod-1_team-a_web"
    assert place.cloud.count("ecr") == 2
    asked = [request.target for request in place.cloud.requests("registry.manifest")]
    assert asked == [f"/v2/team-a/{name}/manifests/v1" for name in ("app", "other", "other")]
    assert {request.method for request in place.cloud.requests("registry")} == {"GET"}
    assert [request.host for request in place.cloud.requests("unknown")] == [
        "api.ecr-fips.us-west-2.amazonaws.com",
        "ecr-fips.us-west-2.amazonaws.com",
    ]
    assert all("authorization" not in request.headers for request in place.cloud.requests("unknown"))


def test_aws_by_a_role_alone(place: Place) -> None:
    """Without a configuration, issuer and audience are those of the token, and sessions have a name of their own."""
    document = place.aws("--wait", "--role", role_arn("pull-team-a"))
    assert verdicts(document) == CONFIRMED
    assert document["identity"] == role_arn("pull-team-a")
    assert place.cloud.last("sts").parameters["RoleSessionName"] == "verify-cloud_team-a_web"


def test_aws_by_another_role_than_the_configured_one(place: Place) -> None:
    """A role on the command line stands before the configuration's."""
    document = run_with(place, "--role", role_arn("pull-team-b"), namespace="team-b")
    assert brief(document, "repository-scope").startswith("limited: A 403 DENIED")
    assert place.cloud.last("sts").parameters["RoleArn"] == role_arn("pull-team-b")


def run_with(place: Place, *options: str, **token: Any) -> dict[str, Any]:
    """Try AWS with the configuration and further options."""
    return place.run("aws", place.token(**token), AWS_IMAGES, (*options, "--config", str(place.config)))


def reading(*repositories: str, extra: tuple[str, ...] = ()) -> dict[str, Any]:
    """A role's policy: to log in, and to read these repositories."""
    document = pull_document(*repositories)
    document["Statement"][1]["Action"] += extra
    return document


def cached(cloud: Cloud) -> None:
    """Image A is one of a pull-through cache, which the role may fill; the limited session may not."""
    cloud.set_repository("team-a/app", pull_through=True)
    cloud.set_role("pull-team-a", policy=reading("team-a/", extra=("ecr:BatchImportUpstreamImage",)))


SCOPE, STATED, OUTLIVES = "repository-scope", "stated-expiry", "password-outlives-session"
# What is so in the cloud, whether to wait, the claims that are not confirmed, and what the first of them says in brief.
AWS_WORLDS: list[tuple[str, Callable[[Cloud], object], bool, dict[str, str], str]] = [
    ("not-waited-for", lambda _: None, False, {}, "not waited for"),
    ("limit-ignored", lambda c: c.configure(password_limit="never"), False, {SCOPE: "refuted"},
     "limited: A 200, B 200; with the role's rights: B 200"),
    ("limit-ends-with-session", lambda c: c.configure(password_limit="with-session"), True, {OUTLIVES: "refuted"},
     "after the session's end: A 200, B 200"),
    ("dies-with-session", lambda c: c.configure(passwords_outlive_sessions=False), True, {OUTLIVES: "refuted"},
     "after the session's end: A 401 UNAUTHORIZED; with a fresh password: A 200"),
    ("other-expiry", lambda c: c.configure(password_life_s=7200), False, {STATED: "refuted"},
     "stated 120m, session 15m"),
    ("limited-opens-nothing", cached, False, {SCOPE: "refuted"},
     "limited: A 403 DENIED, B 403 DENIED; with the role's rights: B 200, A 200"),
    ("b-not-allowed", lambda c: c.set_role("pull-team-a", policy=reading("team-a/app")), False, {SCOPE: "not settled"},
     "limited: A 200, B 403 DENIED; with the role's rights: B 403 DENIED"),
    ("a-not-allowed", lambda c: c.set_role("pull-team-a", policy=reading("team-a/other")), False,
     {SCOPE: "not settled"}, "limited: A 403 DENIED, B 403 DENIED; with the role's rights: B 200"),
    ("a-never-allowed", lambda c: c.set_role("pull-team-a", policy=reading("team-a/other")), True,
     {SCOPE: "not settled", OUTLIVES: "not settled"}, "limited: A 403 DENIED"),
    ("role-is-gone", lambda c: c.remove_role("pull-team-a"), True,
     {SCOPE: "not settled", STATED: "not settled", OUTLIVES: "not settled"}, "aws-sts-denied"),
    ("registry-fails", lambda c: c.fault("registry.manifest", "UNAVAILABLE", times=None), False,
     {SCOPE: "not settled"}, "cloud-failing"),
    ("registry-throttles", lambda c: c.fault("registry.manifest", "TOOMANYREQUESTS", times=None), False,
     {SCOPE: "not settled"}, "cloud-throttled"),
    ("registry-shows-a-page", lambda c: c.fault("registry.manifest", "html", times=None, status=200), False,
     {SCOPE: "not settled"}, "cloud-answer"),
    ("registry-refuses-with-a-page", lambda c: c.fault("registry.manifest", "html", times=None, status=403), False,
     {SCOPE: "not settled"}, "limited: A 403, B 403; with the role's rights: B 403"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "wait", "expected", "said"), [pytest.param(*row[1:], id=row[0]) for row in AWS_WORLDS]
)
def test_aws_verdicts(
    place: Place, make: Callable[[Cloud], object], wait: bool, expected: dict[str, str], said: str
) -> None:
    """What is not as claimed is refuted, what can't be told is left open, and everything else is confirmed."""
    make(place.cloud)
    document = place.aws(*(["--wait"] if wait else []))
    left = {} if wait else {OUTLIVES: "not settled"}
    assert verdicts(document) == CONFIRMED | left | expected
    first = next(each for each in document["points"] if each["verdict"] != "confirmed")
    assert brief(document, first["name"]).startswith(said)
    assert first["means"]
    assert document["settled"] is False


def test_a_refusal_after_the_session_needs_a_control(place: Place) -> None:
    """With a token that ends before the session does, nobody can tell why the password is refused."""
    place.cloud.configure(passwords_outlive_sessions=False)
    document = place.aws("--wait", lifetime_s=600)
    assert verdicts(document)[OUTLIVES] == "not settled"
    assert brief(document, OUTLIVES) == "after the session's end: A 401 UNAUTHORIZED"
    assert any("the token ends before the session does" in line for line in place.told)


def test_a_control_that_is_refused_settles_nothing(place: Place, clock: TravellingClock) -> None:
    """When a fresh password is refused as well, the session's end need not be the reason."""
    place.cloud.configure(passwords_outlive_sessions=False)
    clock.arrived = lambda: place.cloud.set_role("pull-team-a", policy=reading("team-b/"))
    document = place.aws("--wait")
    assert verdicts(document)[OUTLIVES] == "not settled"
    assert brief(document, OUTLIVES) == (
        "after the session's end: A 401 UNAUTHORIZED; with a fresh password: A 403 DENIED"
    )


# --- names of hosts


def presence(**states: str) -> Probe:
    """A probe for which the names that begin so are in these states."""

    def probe(host: str) -> Presence:
        state = states[host.partition(".")[0].replace("-", "_")]
        return Presence(answers=state == "answers", absent=state == "absent", detail=state)

    return probe


@pytest.mark.parametrize(
    ("api", "listed", "verdict"),
    [
        ("answers", "answers", "confirmed"),
        ("answers", "absent", "confirmed"),
        ("absent", "answers", "refuted"),
        ("absent", "absent", "not settled"),
        ("silent", "answers", "not settled"),
        ("silent", "silent", "not settled"),
    ],
)
def test_fips_names(place: Place, api: str, listed: str, verdict: str) -> None:
    """Only certain absence of the one name and presence of the other refute what pullpass uses."""
    place.probe = presence(api=api, ecr_fips=listed)
    found = point(place.aws(), "fips-names")
    assert found["verdict"] == verdict
    assert ("https://ecr-fips.us-west-2.amazonaws.com" in found["means"]) == (verdict == "refuted")


def test_a_region_without_fips_asks_for_another(place: Place) -> None:
    """The name is looked for in a region that has one."""
    host = HOST.replace("us-west-2", "eu-central-1")
    for name in ("team-a/app", "team-a/other"):
        place.cloud.push(name, "v1", region="eu-central-1")
    place.cloud.set_role("pull-team-a", policy=pull_document("team-a/", region="eu-central-1"))
    document = place.aws("--role", role_arn("pull-team-a"), "--config", str(place.config),
                         images=(f"{host}/team-a/app:v1", f"{host}/team-a/other:v1"))  # fmt: skip
    assert verdicts(document) == CONFIRMED | {OUTLIVES: "not settled"}
    assert brief(document, "fips-names").startswith("us-east-1: ")
    assert document["where"] == "partition aws, region eu-central-1"


@pytest.mark.parametrize(
    ("number", "absent"), [(socket.EAI_NONAME, True), (socket.EAI_NODATA, True), (socket.EAI_AGAIN, False)]
)
def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch, number: int, absent: bool) -> None:
    """Only the resolver's certain no means that there is no such host."""
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)

    def resolve(_host: str) -> None:
        raise socket.gaierror(number, "the resolver's words")

    found = NetworkProbe(SystemClock(), "", resolve)("api.ecr-fips.us-west-2.amazonaws.com")
    assert (found.answers, found.absent) == (False, absent)
    assert "the resolver's words" in found.detail


@pytest.mark.parametrize(
    ("mode", "answers", "detail"),
    [("good", True, "answers over TLS"), ("wrong-name", False, "certificate"), ("expired", False, "certificate")],
)
def test_a_host_is_there_by_its_own_certificate(place: Place, mode: str, answers: bool, detail: str) -> None:
    """Whoever answers with a certificate of another name is not the host, and the host is not absent either."""
    place.cloud.certificates(mode)
    found = place.probe("api.ecr-fips.us-west-2.amazonaws.com")
    assert (found.answers, found.absent) == (answers, False)
    assert detail in found.detail


@pytest.mark.parametrize(
    ("kind", "options", "answers"),
    [("redirect", {}, True), ("html", {"status": 503}, True), ("html", {"status": 429}, True), ("cut", {}, False)],
)
def test_what_counts_as_an_answer(place: Place, kind: str, options: dict[str, Any], answers: bool) -> None:
    """Whatever a host says over TLS, it is there; a cut connection says nothing."""
    place.cloud.fault("gsts.other", kind, times=None, **options)
    found = place.probe("sts.googleapis.com")
    assert found.answers is answers
    assert found.absent is False

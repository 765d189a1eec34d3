"""What Google says no to by its own rules, and what is refused before anything is sent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from cloud.gcp.world import PULL_ACCOUNT, provider_name
from integration.exchanging import LONG_S, ImpatientClock
from integration.exchanging_gcp import IAM, STS, impersonating, make_plan, mint, refused, run
from pullpass.clock import Deadline
from pullpass.errors import CLOUD_REFUSED, DENIED, INVALID, REFUSED, TOKEN_AT_FAULT, UNREACHABLE, PullpassError
from pullpass.exchange import gcp

if TYPE_CHECKING:
    from cloud import Cloud

LONG_NAME = "a" * 100


@pytest.mark.parametrize(
    ("fields", "code", "upstream"),
    [
        pytest.param({"audience": "pull.ecr.prod-1"}, "gcp-audience-rejected", TOKEN_AT_FAULT, id="audience"),
        pytest.param({"key": "wrong"}, "gcp-signature-rejected", TOKEN_AT_FAULT, id="signature"),
        pytest.param({"claims": {"iss": "https://c2.test"}}, "gcp-issuer-mismatch", TOKEN_AT_FAULT, id="issuer"),
        pytest.param({"claims": {"sub": "system:node:x"}}, "gcp-condition-rejected", DENIED, id="condition"),
    ],
)
def test_token_that_sts_refuses(cloud: Cloud, fields: dict[str, Any], code: str, upstream: str) -> None:
    """What STS itself finds wrong with a token comes out as that, after one request."""
    error = refused(cloud, impersonating(cloud), token=mint(cloud, **fields))
    assert (error.code, error.upstream, error.status) == (code, upstream, CLOUD_REFUSED)
    assert "system:serviceaccount:team-b:web" in error.what
    assert (cloud.count(STS), cloud.count(IAM)) == (1, 0)


@pytest.mark.parametrize("skew_s", [4000, -600])
def test_clocks_that_disagree(cloud: Cloud, skew_s: int) -> None:
    """To Google the token has expired, or is from the future."""
    cloud.configure(skew_s=skew_s)
    error = refused(cloud)
    assert (error.code, error.upstream) == ("gcp-token-expired", TOKEN_AT_FAULT)
    assert "clock" in error.hint


def test_keys_that_were_rotated(cloud: Cloud) -> None:
    """Uploaded keys that are not the cluster's any more: Google says what it says of an unreachable issuer."""
    cloud.set_workload_provider(jwks=cloud.issuers["prod-1"].jwks())
    run(cloud)
    cloud.rotate_keys(keep_old=False)
    error = refused(cloud)
    assert (error.code, error.status) == ("gcp-issuer-unreachable", UNREACHABLE)
    assert "upload the current keys" in error.hint


@pytest.mark.parametrize("change", ["disabled", "deleted"])
def test_pool_that_is_not_there(cloud: Cloud, change: str) -> None:
    """A pool that is disabled or deleted."""
    cloud.set_pool(disabled=change == "disabled", deleted=change == "deleted")
    error = refused(cloud)
    assert (error.code, error.upstream) == ("gcp-provider-unknown", INVALID)
    assert "gcr.provider" in error.hint


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param(provider_name(pool="never"), "gcp-provider-unknown", id="pool"),
        pytest.param(provider_name(number="999"), "gcp-provider-unknown", id="number"),
        pytest.param(provider_name("never"), "gcp-provider-unknown", id="provider"),
        pytest.param(provider_name(number="proj"), "gcp-provider-invalid", id="project-id"),
    ],
)
def test_provider_that_does_not_exist(cloud: Cloud, name: str, code: str) -> None:
    """A wrong number, pool or provider."""
    assert refused(cloud, make_plan(cloud, provider=name)).code == code


def test_long_subject(cloud: Cloud) -> None:
    """A sub that Google can't take as a subject says how long it is; where a shorter one is mapped, it is fine."""
    planned = make_plan(cloud, service_account=LONG_NAME)
    token = mint(cloud, account=LONG_NAME)
    error = refused(cloud, planned, token=token)
    assert (error.code, error.upstream) == ("gcp-subject-too-long", INVALID)
    assert error.hint.startswith("the token's sub has 129 bytes and google.subject takes 127: map a shorter one")
    cloud.set_workload_provider(mapping={"google.subject": "assertion['kubernetes.io']['serviceaccount']['uid']"})
    credential = run(cloud, planned, token=token)
    assert credential.principal == provider_name()


def test_subject_that_is_too_long_by_its_mapping(cloud: Cloud) -> None:
    """Where the mapping adds to the sub, the token's own length would only mislead."""
    cloud.set_workload_provider(mapping={"google.subject": f"'{'x' * 128}/' + assertion.sub"})
    error = refused(cloud)
    assert error.code == "gcp-subject-too-long"
    assert error.hint.startswith("google.subject takes 127 bytes")


# --- STS answers, and the impersonation fails


def stranger(cloud: Cloud) -> None:
    """Nobody may impersonate the account."""
    cloud.set_service_account(PULL_ACCOUNT, impersonators=[])


def gone(cloud: Cloud) -> None:
    """The account is deleted."""
    cloud.remove_service_account(PULL_ACCOUNT)


def disabled(cloud: Cloud) -> None:
    """The account is disabled."""
    cloud.set_service_account(PULL_ACCOUNT, disabled=True)


def without_api(cloud: Cloud) -> None:
    """The API is not enabled."""
    cloud.configure(disabled_apis=["iamcredentials"])


@pytest.mark.parametrize(
    ("change", "code", "upstream"),
    [
        (stranger, "gcp-impersonation-denied", DENIED),
        (gone, "gcp-impersonation-denied", DENIED),
        (disabled, "gcp-impersonation-denied", DENIED),
        (without_api, "gcp-api-disabled", INVALID),
    ],
)
def test_impersonation_that_is_refused(cloud: Cloud, change: Any, code: str, upstream: str) -> None:
    """A refusal of the second call is that call's, is made once, and leaves nothing of the first one's token behind."""
    change(cloud)
    error = refused(cloud, impersonating(cloud))
    assert (error.code, error.upstream, error.status) == (code, upstream, CLOUD_REFUSED)
    assert error.what.startswith("iamcredentials:GenerateAccessToken: ")
    assert (cloud.count(STS), cloud.count(IAM)) == (1, 1)


def test_longer_than_the_organisation_allows(cloud: Cloud) -> None:
    """More than an hour needs a policy; with it, twelve are possible."""
    planned = impersonating(cloud, token_lifetime_s=43200)
    error = refused(cloud, planned)
    assert (error.code, error.upstream) == ("gcp-lifetime", INVALID)
    assert "gcr.token_lifetime" in error.hint
    cloud.set_service_account(PULL_ACCOUNT, longest_token_s=43200)
    assert run(cloud, planned).life_ends_s == pytest.approx(time.time() + 43200, abs=10)


def test_sts_that_is_not_enabled(cloud: Cloud) -> None:
    """The API of the first call can be switched off as well."""
    cloud.configure(disabled_apis=["sts"])
    assert refused(cloud).code == "gcp-api-disabled"


def test_second_call_is_tried_again_alone(cloud: Cloud) -> None:
    """Trouble of the second call does not present the pod's token once more."""
    cloud.fault(IAM, "UNAVAILABLE", 2)
    clock = ImpatientClock()
    run(cloud, impersonating(cloud), clock=clock)
    assert (cloud.count(STS), cloud.count(IAM)) == (1, 3)
    assert clock.slept == [0.5, 1.0]


# --- what is refused before anything is sent


@pytest.mark.parametrize("alg", ["RS384", "RS512", "ES384", "ES512"])
def test_algorithm_that_google_does_not_take(cloud: Cloud, alg: str) -> None:
    """Clusters may sign with these, AWS takes them; at Google the token would be sent for nothing."""
    error = refused(cloud, token=mint(cloud, header={"alg": alg}))
    assert (error.code, error.status, error.upstream) == ("gcp-token-algorithm", REFUSED, "")
    assert alg in error.what
    assert cloud.counts() == {}


@pytest.mark.parametrize(("hours", "code"), [(23.9, None), (24.1, "gcp-token-age")])
def test_token_that_is_too_old(cloud: Cloud, hours: float, code: str | None) -> None:
    """However long it is valid, a token of more than a day is not taken."""
    token = mint(cloud, issued_s=-int(hours * 3600), lifetime_s=48 * 3600)
    if code is None:
        run(cloud, token=token)
        return
    error = refused(cloud, token=token)
    assert (error.code, error.status) == (code, REFUSED)
    assert "24.1h ago" in error.what
    assert cloud.counts() == {}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"alg": "none"}, "token-algorithm"),
        ({"lifetime_s": -60}, "token-expired"),
        ({"claims": {"iat": "1"}}, "token-claims"),
        ({"payload": "[]"}, "token-malformed"),
    ],
)
def test_what_is_no_token(cloud: Cloud, fields: dict[str, Any], code: str) -> None:
    """The exchange relies on nobody having looked at the token before."""
    assert refused(cloud, token=mint(cloud, **fields)).code == code
    assert cloud.counts() == {}


def test_without_a_token(cloud: Cloud) -> None:
    """A workload's identity needs a token."""
    clock = ImpatientClock()
    with pytest.raises(PullpassError, match="internal: no token"):
        gcp.exchange(make_plan(cloud), None, Deadline(clock, LONG_S), clock)
    assert cloud.counts() == {}

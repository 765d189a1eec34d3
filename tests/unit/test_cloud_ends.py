"""The local cloud by a clock that stands still: what ends when, to the second."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from cloud import Cloud, role_arn
from cloud.clients import request
from cloud.gcp.clients import access_token, exchange, impersonate, oauth_error, pull, subject_token
from cloud.imds import TOKEN, TTL
from cloud.world import Password

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTED_S = 1_800_000_000.0
WEB = "proj/team-b/web/manifests/v1"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time_s = STARTED_S

    def __call__(self) -> float:
        """The time it was set to."""
        return self.time_s


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The clock of cluster and cloud."""
    return Clock()


@pytest.fixture(scope="module")
def clouds(clock: Clock) -> Iterator[Cloud]:
    """One cloud for the module: making keys costs more than the tests."""
    with Cloud(now=clock) as running:
        yield running


@pytest.fixture
def cloud(clouds: Cloud, clock: Clock) -> Cloud:
    """The default world at the clock's beginning."""
    clock.time_s = STARTED_S
    clouds.reset()
    return clouds


def at(clock: Clock, after_s: float) -> None:
    """Set the clock so long after the beginning."""
    clock.time_s = STARTED_S + after_s


def test_a_subject_token(cloud: Cloud, clock: Clock) -> None:
    """It is good from the second of `iat` on, before that of `exp`, and for 24 hours, whichever ends first."""
    short, long = subject_token(cloud, lifetime_s=60), subject_token(cloud, lifetime_s=3 * 86400)
    for token, after_s, says in (
        (short, -1, "future"), (short, 0, None), (short, 59, None), (short, 60, "expired"),
        (long, 86400, None), (long, 86401, "stale"),
    ):  # fmt: skip
        at(clock, after_s)
        reply = exchange(cloud, token)
        if says is None:
            assert reply.status == 200
        else:
            assert says in oauth_error(reply)[2]


def test_a_federated_token(cloud: Cloud, clock: Clock) -> None:
    """It ends with its subject token, for the registry and for IAM Credentials, and says so beforehand."""
    token = subject_token(cloud, lifetime_s=600)
    at(clock, 100)
    reply = json.loads(exchange(cloud, token).body)
    assert reply["expires_in"] == 500
    for after_s, good in ((599, True), (600, False)):
        at(clock, after_s)
        assert pull(cloud, WEB, reply["access_token"]).status == (200 if good else 401)
        assert impersonate(cloud, reply["access_token"]).status == (200 if good else 401)


@pytest.mark.parametrize(("lifetime_s", "expected_s"), [(3599, 3599), (3600, 3600), (3601, 3600)])
def test_a_federated_token_of_a_long_subject(cloud: Cloud, lifetime_s: int, expected_s: int) -> None:
    """An hour is the most."""
    document = json.loads(exchange(cloud, subject_token(cloud, lifetime_s=lifetime_s)).body)
    assert document["expires_in"] == expected_s


def test_an_accounts_token(cloud: Cloud, clock: Clock) -> None:
    """It ends at the moment that the answer names."""
    document = json.loads(impersonate(cloud, access_token(cloud), lifetime="900s").body)
    assert document["expireTime"] == "2027-01-15T08:15:00Z"
    for after_s, status in ((899, 200), (900, 401)):
        at(clock, after_s)
        assert pull(cloud, WEB, document["accessToken"]).status == status


def test_registry_tokens(cloud: Cloud, clock: Clock) -> None:
    """Google's and ECR Public's last an hour, to the second."""
    google = json.loads(pull(cloud, "token?scope=repository:proj/public/base:pull", None).body)
    amazon = json.loads(request(f"http://{cloud.endpoints.public}/token/").body)
    assert (google["expires_in"], amazon["expires_in"]) == (3600, 3600)
    for after_s, status in ((3599, 200), (3600, 401)):
        at(clock, after_s)
        for door, token, path in (
            (cloud.endpoints.artifact, google["token"], "proj/public/base"),
            (cloud.endpoints.public, amazon["token"], "docker/library/busybox"),
        ):
            headers = {"Authorization": f"Bearer {token}"}
            assert request(f"http://{door}/v2/{path}/manifests/v1", headers=headers).status == status


def test_a_password_of_ecr_public(cloud: Cloud, clock: Clock) -> None:
    """Twelve hours, to the second."""
    # The SDK signs by the machine's clock, which is another one here; so the password is put there.
    session = cloud.world.begin(cloud.world.roles[role_arn("pull-public")], "x-y", STARTED_S + 60)
    cloud.world.public_passwords["p"] = Password(
        "p", session, "us-east-1", STARTED_S + cloud.ecr_public.password_life_s
    )
    headers = {"Authorization": "Basic " + base64.b64encode(b"AWS:p").decode()}
    for after_s, status in ((43199, 200), (43200, 403)):
        at(clock, after_s)
        assert request(f"http://{cloud.endpoints.public}/v2/", headers=headers).status == status


def test_a_session_token_of_the_instances_metadata(cloud: Cloud, clock: Clock) -> None:
    """As long as it was asked for."""
    token = request(f"{cloud.endpoints.imds}/latest/api/token", "PUT", headers={TTL: "21600"}).body.decode()
    url = f"{cloud.endpoints.imds}/latest/meta-data/instance-id"
    for after_s, status in ((21599, 200), (21600, 401)):
        at(clock, after_s)
        assert request(url, headers={TOKEN: token}).status == status


def test_credentials_of_the_node(cloud: Cloud, clock: Clock) -> None:
    """Six hours; renewed when less than a quarter of an hour is left."""
    seen = []
    for after_s in (0, 6 * 3600 - 900, 6 * 3600 - 899):
        at(clock, after_s)
        token = request(f"{cloud.endpoints.imds}/latest/api/token", "PUT", headers={TTL: "60"}).body.decode()
        url = f"{cloud.endpoints.imds}/latest/meta-data/iam/security-credentials/node-prod-1"
        seen.append(json.loads(request(url, headers={TOKEN: token}).body))
    first, same, renewed = seen
    assert first["Expiration"] == "2027-01-15T14:00:00Z"
    assert same["AccessKeyId"] == first["AccessKeyId"]
    assert renewed["AccessKeyId"] != first["AccessKeyId"]
    assert renewed["LastUpdated"] == "2027-01-15T13:45:01Z"


def test_the_token_of_googles_node(cloud: Cloud, clock: Clock) -> None:
    """An hour; renewed when less than five minutes are left."""
    seen = []
    for after_s in (0, 3300, 3301):
        at(clock, after_s)
        path = "/computeMetadata/v1/instance/service-accounts/default/token"
        seen.append(json.loads(request(cloud.endpoints.gmetadata + path, headers={"Metadata-Flavor": "Google"}).body))
    assert [document["expires_in"] for document in seen] == [3600, 300, 3600]
    assert seen[0]["access_token"] == seen[1]["access_token"] != seen[2]["access_token"]


def test_a_pods_token(cloud: Cloud, clock: Clock) -> None:
    """The Pod Identity agent takes it before the second of `exp`."""
    token = cloud.mint_token("kube-system", "pullpass", audience="pods.eks.amazonaws.com", lifetime_s=60)
    for after_s, status in ((59, 200), (60, 400)):
        at(clock, after_s)
        url = f"{cloud.endpoints.container}/v1/credentials"
        assert request(url, headers={"Authorization": token}).status == status

"""The local cloud as the rest of AWS: second hops, further accounts, partitions and interface endpoints."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from cloud import ACCOUNT, AUDIENCE, role_arn
from cloud.clients import assume, authorization, client, credentials, policy, pull, refused, request
from cloud.hosts import parse
from cloud.iam import Policy
from cloud.world import CHINA_ACCOUNT, CHINA_REGION, FURTHER_ACCOUNT, assume_document, pull_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloud import Cloud

LOGIN = {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
HOP = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
SHARED = role_arn("pull-shared", FURTHER_ACCOUNT)


def real_names(cloud: Cloud) -> dict[str, Any]:
    """Options of a client that asks AWS's real host names, by way of the proxy door."""
    return {"proxies": {"https": cloud.endpoints.proxy}, "verify": cloud.endpoints.ca_file}


def hop(cloud: Cloud, keys: Mapping[str, str] | None = None, role: str = SHARED, **parameters: Any) -> dict[str, Any]:
    """What STS answers to AssumeRole."""
    with client("sts", cloud.endpoints.sts, credentials=keys or credentials(cloud)) as sts:
        named = {"RoleArn": role, "RoleSessionName": "prod-1.team-a.web"} | parameters
        answer: dict[str, Any] = sts.assume_role(**named)
        return answer


# --- second hops


def test_a_second_hop(cloud: Cloud) -> None:
    """A session takes a role of another account, and its password opens that account's repository."""
    answer = hop(cloud, DurationSeconds=900)
    arn = f"arn:aws:sts::{FURTHER_ACCOUNT}:assumed-role/pull-shared/prod-1.team-a.web"
    assert answer["AssumedRoleUser"]["Arn"] == arn
    assert 890 < answer["Credentials"]["Expiration"].timestamp() - cloud.now() <= 900
    assert "PackedPolicySize" not in answer
    assert (
        cloud.last("sts.AssumeRole").principal == f"arn:aws:sts::{ACCOUNT}:assumed-role/pull-team-a/prod-1.team-a.web"
    )
    (data,) = authorization(cloud, answer["Credentials"])["authorizationData"]
    login = base64.b64decode(data["authorizationToken"]).decode()
    host = f"{FURTHER_ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com"
    assert pull(cloud, "shared/base/manifests/v1", login, host=host).status == 200
    assert pull(cloud, "shared/base/manifests/v1", login).status == 403
    assert cloud.last("registry").principal == arn


def test_a_second_hop_with_a_session_policy(cloud: Cloud) -> None:
    """The policy limits the further session; its packed size is answered."""
    answer = hop(cloud, Policy=policy({**LOGIN, "Action": "ecr:BatchGetImage"}))
    assert 0 < answer["PackedPolicySize"] <= 100
    assert refused(lambda: authorization(cloud, answer["Credentials"]))[0] == "AccessDeniedException"


@pytest.mark.parametrize(
    ("trust", "own", "session", "allowed"),
    [
        ({"AWS": [role_arn("pull-team-a")]}, True, None, True),
        ({"AWS": [role_arn("pull-team-b")]}, True, None, False),
        ({"AWS": ["*"]}, True, None, True),
        ({"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}, True, None, True),
        ({"AWS": [ACCOUNT]}, True, None, True),
        ({"AWS": [f"arn:aws:iam::{FURTHER_ACCOUNT}:root"]}, True, None, False),
        ({"Service": ["ec2.amazonaws.com"]}, True, None, False),
        ({"AWS": [role_arn("pull-team-a")]}, False, None, False),
        ({"AWS": [role_arn("pull-team-a")]}, True, policy(LOGIN), False),
        ({"AWS": [role_arn("pull-team-a")]}, True, policy(LOGIN, HOP), True),
    ],
    ids=str,
)
def test_both_accounts_must_allow_a_second_hop(
    cloud: Cloud, trust: dict[str, list[str]], own: bool, session: str | None, allowed: bool
) -> None:
    """The role's trust, the first role's policy and the first session's policy, all of them."""
    cloud.set_role(SHARED, trust=assume_document(trust))
    cloud.set_role("pull-team-a", policy=policy(LOGIN, *([HOP] if own else [])))
    keys = assume(cloud, **({} if session is None else {"Policy": session}))["Credentials"]
    if allowed:
        assert hop(cloud, keys)
    else:
        code, status, message = refused(lambda: hop(cloud, keys))
        assert (code, status) == ("AccessDenied", 403)
        assert f"sts:AssumeRole on resource: {SHARED}" in message


@pytest.mark.parametrize(
    ("trust", "own", "allowed"),
    [
        ({"AWS": [role_arn("pull-team-a")]}, False, True),
        ({"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}, False, False),
        ({"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}, True, True),
        ({"AWS": [role_arn("pull-team-b")]}, True, False),
    ],
    ids=str,
)
def test_within_an_account_the_trust_may_be_enough(
    cloud: Cloud, trust: dict[str, list[str]], own: bool, allowed: bool
) -> None:
    """A trust that names the role itself needs no more; without any trust nothing helps."""
    cloud.set_role("second", trust=assume_document(trust), policy=pull_document("x/"))
    cloud.set_role("pull-team-a", policy=policy(LOGIN, *([HOP] if own else [])))
    if allowed:
        assert hop(cloud, role=role_arn("second"))
    else:
        assert refused(lambda: hop(cloud, role=role_arn("second")))[0] == "AccessDenied"


def test_conditions_of_a_second_hop(cloud: Cloud) -> None:
    """The trust may ask for an external id, a session's name, the caller."""
    document = assume_document({"AWS": [role_arn("pull-team-a")]})
    document["Statement"][0]["Condition"] = {
        "StringEquals": {"sts:ExternalId": "secret-7", "aws:PrincipalArn": role_arn("pull-team-a")},
        "StringLike": {"sts:RoleSessionName": "prod-1.*"},
    }
    cloud.set_role(SHARED, trust=document)
    assert hop(cloud, ExternalId="secret-7")
    for parameters in ({}, {"ExternalId": "secret-8"}, {"ExternalId": "secret-7", "RoleSessionName": "dev-1.x"}):
        assert refused(lambda given=parameters: hop(cloud, **given))[0] == "AccessDenied"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("operator", "values", "holds"),
    [
        ("StringNotEquals", ["a"], False),
        ("StringNotEquals", ["b"], True),
        ("StringNotEquals", ["b", "a"], False),
        ("ForAnyValue:StringNotEquals", ["b", "a"], True),
        ("ForAnyValue:StringNotEquals", ["a"], False),
        ("ForAllValues:StringEquals", ["a"], True),
        ("ForAllValues:StringEquals", ["a", "b"], False),
        ("ForAllValues:StringEquals", [], True),
        ("ForAnyValue:StringEquals", ["a", "b"], True),
        ("ForAnyValue:StringEquals", [], False),
        ("StringEquals", [], False),
        ("StringEqualsIfExists", [], True),
    ],
)
def test_qualifiers_of_conditions(operator: str, values: list[str], holds: bool) -> None:
    """Several values of one key, by IAM's rules: any of them, all of them, none of them."""
    statement = {"Effect": "Allow", "Action": "x:Y", "Resource": "*", "Condition": {operator: {"k": "a"}}}
    parsed = Policy.parse({"Statement": statement}, kind="identity").statements[0]
    assert parsed.speaks_of("x:Y", "*", {"k": values}) == holds


def test_whose_fault_an_error_is(cloud: Cloud) -> None:
    """The query protocol says it besides the status."""
    url = f"{cloud.endpoints.sts}/?Action=GetCallerIdentity&Version=2011-06-15"
    for code, kind in (("InternalFailure", b"Receiver"), ("AccessDenied", b"Sender")):
        cloud.fault("sts", code)
        assert b"<Type>" + kind + b"</Type>" in request(url).body


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"DurationSeconds": 3601}, "1 hour session limit"),
        ({"DurationSeconds": 43201}, "less than or equal to 43200"),
        ({"RoleSessionName": "a/b"}, "roleSessionName"),
        ({"ExternalId": "a b"}, "externalId"),
        ({"Policy": "x" * 2049}, "2048"),
        ({"Tags": [{"Key": "a", "Value": "b"}]}, "Tags.member.1.Key"),
    ],
    ids=str,
)
def test_limits_of_a_second_hop(cloud: Cloud, parameters: dict[str, Any], says: str) -> None:
    """An hour at most, whatever the role allows; the rest as in the first one."""
    cloud.set_role(SHARED, max_session_s=43200)
    code, status, message = refused(lambda: hop(cloud, **parameters))
    assert (code, status) == ("ValidationError", 400)
    assert says in message


def test_who_may_not_even_ask(cloud: Cloud) -> None:
    """A bad signature, an ended session, a role that is gone or never was, another partition."""
    keys = credentials(cloud)
    assert refused(lambda: hop(cloud, keys | {"SecretAccessKey": "x"}))[:2] == ("SignatureDoesNotMatch", 403)
    assert refused(lambda: hop(cloud, keys | {"AccessKeyId": "ASIAX"}))[:2] == ("InvalidClientTokenId", 403)
    assert refused(lambda: hop(cloud, keys, role_arn("nobody", FURTHER_ACCOUNT)))[:2] == ("AccessDenied", 403)
    china = role_arn("pull-team-a", CHINA_ACCOUNT, "aws-cn")
    assert refused(lambda: hop(cloud, keys, china))[0] == "AccessDenied"
    cloud.configure(disabled_regions=["us-west-2"])
    # By name, because an older client asks the global endpoint.
    with client(
        "sts",
        "https://sts.us-west-2.amazonaws.com",
        credentials=keys,
        proxies={"https": cloud.endpoints.proxy},
        verify=cloud.endpoints.ca_file,
    ) as sts:
        call = {"RoleArn": SHARED, "RoleSessionName": "x-y"}
        assert refused(lambda: sts.assume_role(**call))[0] == "RegionDisabledException"
    cloud.world.sessions[keys["AccessKeyId"]].expires_s = cloud.now()
    assert refused(lambda: hop(cloud, keys))[:2] == ("ExpiredToken", 403)
    keys = credentials(cloud)
    cloud.remove_role("pull-team-a")
    assert refused(lambda: hop(cloud, keys))[0] == "InvalidClientTokenId"


# --- partitions and hosts


def test_credentials_do_not_cross_partitions(cloud: Cloud) -> None:
    """China's roles are taken in China's regions, and their credentials are good there."""
    at = real_names(cloud)
    with client("sts", None, CHINA_REGION, **at) as sts:
        keys = sts.assume_role_with_web_identity(
            RoleArn=role_arn("pull-team-a", CHINA_ACCOUNT, "aws-cn"),
            RoleSessionName="x-y",
            WebIdentityToken=cloud.mint_token(),
        )["Credentials"]
        foreign = {"RoleArn": role_arn("pull-team-a"), "RoleSessionName": "x-y", "WebIdentityToken": cloud.mint_token()}
        assert refused(lambda: sts.assume_role_with_web_identity(**foreign))[0] == "AccessDenied"
    with client("ecr", None, CHINA_REGION, credentials=keys, **at) as ecr:
        (data,) = ecr.get_authorization_token()["authorizationData"]
    host = f"{CHINA_ACCOUNT}.dkr.ecr.{CHINA_REGION}.amazonaws.com.cn"
    assert data["proxyEndpoint"] == f"https://{host}"
    login = base64.b64decode(data["authorizationToken"]).decode()
    assert pull(cloud, "team-a/app/manifests/v1", login, host=host).status == 200
    assert refused(lambda: authorization(cloud, keys))[0] == "UnrecognizedClientException"
    assert (
        refused(lambda: authorization(cloud, credentials(cloud), region=CHINA_REGION))[0]
        == "UnrecognizedClientException"
    )


def test_a_trust_by_account_in_another_partition(cloud: Cloud) -> None:
    """An account's root is named by its own partition."""
    second = role_arn("second", CHINA_ACCOUNT, "aws-cn")
    pulls = pull_document("x/", account=CHINA_ACCOUNT, region=CHINA_REGION)
    first = role_arn("pull-team-a", CHINA_ACCOUNT, "aws-cn")
    cloud.set_role(first, policy=policy(LOGIN, HOP))
    at = real_names(cloud)
    keys = assume(cloud, first)["Credentials"]
    for partition, allowed in (("aws-cn", True), ("aws", False)):
        cloud.set_role(
            second, trust=assume_document({"AWS": [f"arn:{partition}:iam::{CHINA_ACCOUNT}:root"]}), policy=pulls
        )
        with client("sts", None, CHINA_REGION, credentials=keys, **at) as sts:
            call = {"RoleArn": second, "RoleSessionName": "x-y"}
            if allowed:
                assert sts.assume_role(**call)
            else:
                assert refused(lambda: sts.assume_role(**call))[0] == "AccessDenied"  # noqa: B023


def test_a_provider_in_another_partition(cloud: Cloud) -> None:
    """A test may make accounts of any partition."""
    provider = cloud.set_provider(cloud.issuer, [AUDIENCE], "123412341234", "aws-us-gov")
    assert provider.arn.startswith("arn:aws-us-gov:iam::123412341234:oidc-provider/")


ENDPOINT = "vpce-0a1b2c3d4e5f67890"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("public.ecr.aws", ("public", "us-east-1", "aws", None)),
        ("ecr-public.aws.com", ("public", "us-east-1", "aws", None)),
        ("api.ecr-public.us-east-1.amazonaws.com", ("ecr-public", "us-east-1", "aws", None)),
        ("ecr-public.us-east-1.api.aws", ("ecr-public", "us-east-1", "aws", None)),
        ("api.ecr-public.us-gov-west-1.amazonaws.com", None),
        ("api.ecr-public.cn-north-1.amazonaws.com.cn", None),
        ("x.public.ecr.aws", None),
        (f"{ENDPOINT}.sts.us-west-2.vpce.amazonaws.com", ("sts", "us-west-2", "aws", None)),
        (f"{ENDPOINT}-abc123de-us-west-2a.sts.us-west-2.vpce.amazonaws.com", ("sts", "us-west-2", "aws", None)),
        (f"{ENDPOINT}.api.ecr.us-west-2.vpce.amazonaws.com", ("ecr", "us-west-2", "aws", None)),
        (f"{ENDPOINT}.api.ecr.cn-north-1.vpce.amazonaws.com.cn", ("ecr", "cn-north-1", "aws-cn", None)),
        (f"{ACCOUNT}.{ENDPOINT}.dkr.ecr.us-west-2.vpce.amazonaws.com", ("registry", "us-west-2", "aws", ACCOUNT)),
        (f"{ENDPOINT}.dkr.ecr.us-west-2.vpce.amazonaws.com", None),
        (f"{ACCOUNT}.{ENDPOINT}.sts.us-west-2.vpce.amazonaws.com", None),
        (f"{ENDPOINT}.sts.us-west-2.amazonaws.com", None),
        (f"{ENDPOINT}.sts.cn-north-1.vpce.amazonaws.com", None),
        ("vpce-x.sts.us-west-2.vpce.amazonaws.com", None),
    ],
)  # fmt: skip
def test_names_of_ecr_public_and_of_interface_endpoints(
    host: str, said: tuple[str, str, str, str | None] | None
) -> None:
    """ECR Public's few names, and the names that PrivateLink makes."""
    assert parse(host) == said


def test_through_interface_endpoints(cloud: Cloud) -> None:
    """The SDK with PrivateLink's names for STS and ECR, and a pull under such a name."""
    at = real_names(cloud)
    call = {"RoleArn": role_arn("pull-team-a"), "RoleSessionName": "x-y", "WebIdentityToken": cloud.mint_token()}
    with client("sts", f"https://{ENDPOINT}.sts.us-west-2.vpce.amazonaws.com", **at) as sts:
        keys = sts.assume_role_with_web_identity(**call)["Credentials"]
    with client("ecr", f"https://{ENDPOINT}.api.ecr.us-west-2.vpce.amazonaws.com", credentials=keys, **at) as ecr:
        (data,) = ecr.get_authorization_token()["authorizationData"]
    login = base64.b64decode(data["authorizationToken"]).decode()
    host = f"{ACCOUNT}.{ENDPOINT}.dkr.ecr.us-west-2.vpce.amazonaws.com"
    assert pull(cloud, "team-a/app/manifests/v1", login, host=host).status == 200
    assert cloud.last("registry").host == host


@pytest.mark.parametrize(
    ("host", "method", "path", "service"),
    [
        ("api.ecr.us-west-2.amazonaws.com", "GET", "/?Action=GetCallerIdentity&Version=2011-06-15", "unknown"),
        ("sts.us-west-2.amazonaws.com", "GET", "/?Action=GetCallerIdentity&Version=2011-06-15", "sts"),
        ("sts.us-west-2.amazonaws.com", "GET", "/v2/", "unknown"),
        ("sts.us-west-2.amazonaws.com", "POST", "/v1/token", "unknown"),
        ("sts.googleapis.com", "GET", "/?Action=GetCallerIdentity&Version=2011-06-15", "gsts"),
        ("public.ecr.aws", "GET", "/v2/", "public"),
        (f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com", "GET", "/v2/", "registry"),
        (f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com", "GET", "/v2/token", "registry"),
    ],
)
def test_a_host_is_one_service(cloud: Cloud, host: str, method: str, path: str, service: str) -> None:
    """What is asked of the wrong host is not answered by the right one's service."""
    request(cloud.endpoints.sts + path, method, headers={"Host": host})
    assert cloud.last().service == service

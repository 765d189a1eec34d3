"""The local cloud as AWS decides: trust policies, signatures, permission policies; every rule is seen to refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloud import ACCOUNT, AUDIENCE, Cloud, role_arn
from cloud.clients import assume, authorization, credentials, policy, refused, request
from cloud.hosts import parse
from cloud.iam import Policy, PolicyError

ECR_STATEMENT = {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
SUBJECT = "system:serviceaccount:team-a:web"


# --- the trust policy


def trusting(cloud: Cloud, *statements: dict[str, Any]) -> None:
    """Have `pull-team-a` trust by these conditions, `ISSUER` standing for the issuer."""
    provider = next(iter(cloud.world.providers.values()))
    host = cloud.issuer.removeprefix("https://")
    whole = [
        {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": provider.arn}, **one}
        for one in statements
    ]
    cloud.set_role("pull-team-a", trust=json.loads(policy(*whole).replace("ISSUER", host)))


ALLOWED_SUBJECTS: list[tuple[list[dict[str, Any]], bool]] = [
    ([{"Condition": {"StringEquals": {"ISSUER:aud": AUDIENCE, "ISSUER:sub": SUBJECT}}}], True),
    (
        [{"Condition": {"StringEquals": {"ISSUER:aud": AUDIENCE, "ISSUER:sub": "system:serviceaccount:team-a:*"}}}],
        False,
    ),
    ([{"Condition": {"StringEquals": {"ISSUER:aud": "other", "ISSUER:sub": SUBJECT}}}], False),
    ([{"Condition": {"StringEquals": {"ISSUER:SUB": ["x", SUBJECT]}}}], True),
    ([{"Condition": {"StringLike": {"ISSUER:sub": "system:serviceaccount:team-?:w*"}}}], True),
    ([{"Condition": {"StringLike": {"ISSUER:sub": "system:serviceaccount:team-b:*"}}}], False),
    ([{"Condition": {"StringLike": {"ISSUER:sub": "serviceaccount:*"}}}], False),
    ([{"Condition": {"StringLike": {"ISSUER:sub": "*"}, "StringNotLike": {"ISSUER:sub": "*:web"}}}], False),
    ([{"Condition": {"StringNotEquals": {"ISSUER:sub": SUBJECT}}}], False),
    ([{"Condition": {"StringEquals": {"ISSUER:other": "x"}}}], False),
    ([{"Condition": {"StringEqualsIfExists": {"ISSUER:other": "x"}}}], True),
    ([{"Condition": {"ForAnyValue:StringEquals": {"ISSUER:aud": [AUDIENCE]}}}], True),
    ([{"Condition": {"StringEquals": {"ISSUER:sub": "x"}}}, {"Condition": {"StringLike": {"ISSUER:sub": "*"}}}], True),
    ([{}, {"Effect": "Deny", "Condition": {"StringEquals": {"ISSUER:sub": SUBJECT}}}], False),
    ([{}], True),
    ([{"Action": "sts:AssumeRole"}], False),
    ([{"Action": ["sts:TagSession", "sts:assumerolewithwebidentity"]}], True),
    ([{"Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/other.example.test"}}], False),
    ([{"Principal": {"AWS": "*"}}], False),
]


@pytest.mark.parametrize(("statements", "allowed"), ALLOWED_SUBJECTS, ids=str)
def test_the_trust_policy_decides(cloud: Cloud, statements: list[dict[str, Any]], allowed: bool) -> None:
    """Conditions on subject and audience, several statements and a deny decide as in IAM."""
    trusting(cloud, *statements)
    if allowed:
        assert assume(cloud)
    else:
        assert refused(lambda: assume(cloud))[:2] == ("AccessDenied", 403)


def test_the_default_roles_trust_their_own_team(cloud: Cloud) -> None:
    """A service account of another namespace, or of one whose name merely begins alike, is refused."""
    for namespace in ("team-b", "team-a-b", "team"):
        assert refused(lambda name=namespace: assume(cloud, token=cloud.mint_token(name)))[0] == "AccessDenied"  # type: ignore[misc]
    assert refused(lambda: assume(cloud, "pull-nobody"))[:2] == ("AccessDenied", 403)
    elsewhere = role_arn("pull-team-a", account="444455556666")
    assert refused(lambda: assume(cloud, elsewhere))[0] == "InvalidIdentityToken", "that account knows no such issuer"
    assert refused(lambda: assume(cloud, role_arn("pull-team-a", partition="aws-cn")))[0] == "AccessDenied"


# --- ECR says no


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"SecretAccessKey": "wrong"}, "InvalidSignatureException"),
        ({"AccessKeyId": "ASIAUNKNOWN"}, "UnrecognizedClientException"),
        ({"SessionToken": "wrong"}, "UnrecognizedClientException"),
    ],
)
def test_ecr_verifies_the_signature(cloud: Cloud, change: dict[str, str], code: str) -> None:
    """Access key, secret and session token must be those of one session."""
    assert refused(lambda: authorization(cloud, credentials(cloud, **change)))[:2] == (code, 400)
    assert not cloud.world.passwords


@pytest.mark.parametrize(
    ("skew_s", "code", "says"),
    [
        (301, "InvalidSignatureException", "Signature expired"),
        (-302, "InvalidSignatureException", "not yet current"),
        (3601, "InvalidSignatureException", "Signature expired"),
    ],
)
def test_ecr_refuses_a_skewed_clock(cloud: Cloud, skew_s: float, code: str, says: str) -> None:
    """A signature is good for five minutes around its time."""
    keys = credentials(cloud)
    cloud.configure(skew_s=skew_s)
    got, _, message = refused(lambda: authorization(cloud, keys))
    assert got == code
    assert says in message


def test_ecr_refuses_an_expired_session(cloud: Cloud) -> None:
    """A session that has ended signs nothing."""
    keys = credentials(cloud)
    cloud.world.sessions[keys["AccessKeyId"]].expires_s = cloud.now()
    assert refused(lambda: authorization(cloud, keys))[:2] == ("ExpiredTokenException", 400)


@pytest.mark.parametrize("part", ["region", "service", "host", "body", "target", "unsigned token"])
def test_ecr_refuses_what_was_signed_otherwise(cloud: Cloud, part: str) -> None:
    """Region, service, host, body and headers are covered by the signature."""
    keys = credentials(cloud)
    target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    made = AWSRequest("POST", "http://api.ecr.us-west-2.amazonaws.com/", {"X-Amz-Target": target}, b"{}")
    token = None if part == "unsigned token" else keys["SessionToken"]
    service, region = ("sts" if part == "service" else "ecr"), ("eu-west-1" if part == "region" else "us-west-2")
    SigV4Auth(Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], token), service, region).add_auth(made)
    headers = {**made.headers, "Host": "api.ecr.us-west-2.amazonaws.com", "X-Amz-Security-Token": keys["SessionToken"]}
    if part == "host":
        headers["Host"] = "ecr.us-west-2.api.aws"
    elif part == "target":
        headers["X-Amz-Target"] = target.replace("Get", "get")
    reply = request(cloud.endpoints.ecr, "POST", b'{"registryIds":[]}' if part == "body" else b"{}", headers)
    expected = "UnknownOperationException" if part == "target" else "InvalidSignatureException"
    assert (reply.status, json.loads(reply.body)["__type"]) == (400, expected)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "MissingAuthenticationTokenException"),
        ({"Authorization": "Bearer x"}, "IncompleteSignatureException"),
        ({"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/r/ecr/aws4_request, SignedHeaders=host, Signature="
          + "0" * 64}, "IncompleteSignatureException"),
    ],
)  # fmt: skip
def test_ecr_refuses_the_uncredentials(cloud: Cloud, headers: dict[str, str], code: str) -> None:
    """Nobody gets a password without signing for it."""
    target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    reply = request(cloud.endpoints.ecr, "POST", b"{}", {"X-Amz-Target": target, **headers})
    assert (reply.status, json.loads(reply.body)["__type"]) == (400, code)
    assert reply.headers["content-type"] == "application/x-amz-json-1.1"


@pytest.mark.parametrize(
    ("role_policy", "session_policy", "why"),
    [
        (policy({**ECR_STATEMENT, "Action": "ecr:BatchGetImage"}), None, "no identity-based policy allows"),
        (policy(ECR_STATEMENT, {**ECR_STATEMENT, "Effect": "Deny"}), None, "explicit deny in an identity-based policy"),
        (policy(ECR_STATEMENT), policy({**ECR_STATEMENT, "Action": "ecr:BatchGetImage"}), "no session policy allows"),
        (
            policy(ECR_STATEMENT),
            policy(ECR_STATEMENT, {**ECR_STATEMENT, "Effect": "Deny"}),
            "explicit deny in a session",
        ),
        (policy({**ECR_STATEMENT, "Action": "ecr:BatchGetImage"}), policy(ECR_STATEMENT), "no identity-based policy"),
    ],
)
def test_ecr_asks_the_policies(cloud: Cloud, role_policy: str, session_policy: str | None, why: str) -> None:
    """Role policy and session policy must both allow the login."""
    cloud.set_role("pull-team-a", policy=role_policy)
    parameters = {} if session_policy is None else {"Policy": session_policy}
    keys = assume(cloud, **parameters)["Credentials"]
    code, status, message = refused(lambda: authorization(cloud, keys))
    assert (code, status) == ("AccessDeniedException", 400)
    assert why in message
    assert (
        "assumed-role/pull-team-a/prod-1.team-a.web is not authorized to perform: ecr:GetAuthorizationToken" in message
    )


def test_a_changed_role_counts_at_once(cloud: Cloud) -> None:
    """Rights are the role's of now, not of when the session was made."""
    keys = credentials(cloud)
    assert authorization(cloud, keys)
    cloud.set_role("pull-team-a", policy=policy({**ECR_STATEMENT, "Effect": "Deny"}))
    assert refused(lambda: authorization(cloud, keys))[0] == "AccessDeniedException"
    cloud.remove_role("pull-team-a")
    assert refused(lambda: authorization(cloud, keys))[0] == "UnrecognizedClientException"


# --- documents that are not what they should be


@pytest.mark.parametrize(
    "document",
    [
        "[" * 2000,
        {"Version": ["2012-10-17"], "Statement": [ECR_STATEMENT]},
        {"Version": "2020-01-01", "Statement": [ECR_STATEMENT]},
        {"Statement": "Allow"},
        {"Statement": ["Allow"]},
        {"Statement": [{**ECR_STATEMENT, "Effect": ["Allow"]}]},
        {"Statement": [{**ECR_STATEMENT, "Effect": "allow"}]},
        {"Statement": [{**ECR_STATEMENT, "NotAction": "ecr:*"}]},
        {"Statement": [{**ECR_STATEMENT, "NotResource": "*"}]},
        {"Statement": [{**ECR_STATEMENT, "Action": [1]}]},
        {"Statement": [{**ECR_STATEMENT, "Action": []}], "Else": 1},
        {"Statement": [{**ECR_STATEMENT, "Condition": []}]},
        {"Statement": [{**ECR_STATEMENT, "Condition": {"StringEquals": "x"}}]},
        {"Statement": [{**ECR_STATEMENT, "Condition": {"NumericEquals": {"x": "1"}}}]},
        {"Statement": [{**ECR_STATEMENT, "Condition": {"AnyValue:StringLike": {"x": "1"}}}]},
        {"Statement": [{**ECR_STATEMENT, "Condition": {"StringLike": {"x": True}}}]},
    ],
    ids=str,
)
def test_documents_that_are_no_policies(cloud: Cloud, document: Any) -> None:
    """Whatever JSON can hold is refused as a policy, not fallen over."""
    text = document if isinstance(document, str) else json.dumps(document)
    assert refused(lambda: assume(cloud, Policy=text))[0] == "MalformedPolicyDocument"


@pytest.mark.parametrize("kind", ["trust", "resource"])
def test_policies_of_other_kinds_need_principals(kind: str) -> None:
    """A trust or repository policy names principals, in a mapping or by a star."""
    statement = {"Effect": "Allow", "Action": "ecr:*"}
    for principal in ({}, {"Principal": "arn:aws:iam::1:root"}, {"Principal": {"AWS": 1}}):
        with pytest.raises(PolicyError):
            Policy.parse({"Statement": {**statement, **principal}}, kind=kind)
    star = Policy.parse({"Statement": {**statement, "Principal": "*"}}, kind=kind)
    assert star.says("ecr:BatchGetImage", "*") == "Allow"


def test_a_condition_in_a_permission_policy_closes(cloud: Cloud) -> None:
    """Nothing here supplies request context, so a statement under a condition does not apply."""
    conditioned = {**ECR_STATEMENT, "Condition": {"StringEqualsIgnoreCase": {"aws:PrincipalTag/team": "a"}}}
    cloud.set_role("pull-team-a", policy=policy(conditioned))
    assert refused(lambda: authorization(cloud, credentials(cloud)))[0] == "AccessDeniedException"
    statement = Policy.parse({"Statement": conditioned}, kind="identity").statements[0]
    assert statement.speaks_of("ecr:GetAuthorizationToken", "*", {"AWS:principaltag/TEAM": ["A"]})


@pytest.mark.parametrize(
    "payload", [b"[" * 14000, b'{"iss":"' + b"\\ud800" + b'"}', b'{"iss":"\\u0000\\u001b"}', b"\xff"]
)
def test_payloads_that_are_no_claims(cloud: Cloud, payload: bytes) -> None:
    """Deep nesting, lone surrogates and control characters are refused in well-formed XML."""
    assert refused(lambda: assume(cloud, token=cloud.mint_token(payload=payload)))[0] == "InvalidIdentityToken"


def test_a_refusal_quotes_in_well_formed_xml(cloud: Cloud) -> None:
    """A parameter with characters that XML can't hold is quoted without them."""
    message = refused(lambda: assume(cloud, RoleSessionName="a\x00<b>\x1b", DurationSeconds=10**8))[2]
    assert "Value 'a?<b>?' at 'roleSessionName'" in message
    assert refused(lambda: assume(cloud, DurationSeconds=10**9))[0] == "MalformedInput"


def test_an_issuer_that_publishes_anothers_document(cloud: Cloud) -> None:
    """The discovery document must name the issuer that was asked; the key set must be one."""
    cloud.fault("issuer.discovery", "set", fields={"issuer": "https://other.example.test"})
    assert refused(lambda: assume(cloud))[0] == "InvalidIdentityToken"
    cloud.fault("issuer.jwks", "set", fields={"keys": []})
    assert refused(lambda: assume(cloud))[0] == "IDPCommunicationError"
    cloud.fault("issuer.jwks", "status", body="[]")
    assert refused(lambda: assume(cloud))[0] == "IDPCommunicationError"
    assert assume(cloud)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b"[" * 100_000])
def test_ecr_wants_an_object(cloud: Cloud, body: bytes) -> None:
    """A signed body that is no JSON object is refused."""
    keys = credentials(cloud)
    target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    made = AWSRequest("POST", f"{cloud.endpoints.ecr}/", {"X-Amz-Target": target}, body)
    signer = Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    SigV4Auth(signer, "ecr", "us-west-2").add_auth(made)
    reply = request(cloud.endpoints.ecr, "POST", body, {**made.headers})
    assert (reply.status, json.loads(reply.body)["__type"]) == (400, "SerializationException")


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("sts.amazonaws.com", ("sts", "us-east-1", "aws", None)),
        ("sts-fips.us-east-2.api.aws", ("sts", "us-east-2", "aws", None)),
        ("ecr-fips.us-east-1.amazonaws.com", ("ecr", "us-east-1", "aws", None)),
        ("api.ecr.us-gov-west-1.amazonaws.com", ("ecr", "us-gov-west-1", "aws-us-gov", None)),
        (f"{ACCOUNT}.dkr-ecr-fips.us-east-1.on.aws", ("registry", "us-east-1", "aws", ACCOUNT)),
        (f"{ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu", ("registry", "eusc-de-east-1", "aws-eusc", ACCOUNT)),
        (f"{ACCOUNT}.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", ("registry", "cn-north-1", "aws-cn", ACCOUNT)),
        (f"{ACCOUNT}.dkr-ecr.us-west-2.amazonaws.com", None),
        (f"{ACCOUNT}.dkr.ecr.us-west-2.on.aws", None),
        (f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com", None),
        (f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com.example.test", None),
        ("1234.dkr.ecr.us-west-2.amazonaws.com", None),
        ("ecr.us-west-2.amazonaws.com", None),
        ("api.ecr.us-west-2.api.aws", None),
        ("sts.us-west-2.example.test", None),
        ("sts.eu-isoe-west-1.", None),
        ("localhost", None),
    ],
)
def test_host_names(host: str, said: tuple[str, str, str, str | None] | None) -> None:
    """AWS's names in every partition, and those that only look like them."""
    assert parse(host) == said

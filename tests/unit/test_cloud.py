"""The local cloud as AWS's token service and registry API: boto3 is the client, every rule is seen to refuse."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from cloud import ACCOUNT, AUDIENCE, Cloud, role_arn
from cloud.clients import assume, authorization, client, credentials, policy, refused, request
from cloud.world import pull_document, trust_document

ECR_STATEMENT = {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
SUBJECT = "system:serviceaccount:team-a:web"


# --- the happy way


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_a_token_becomes_a_session(cloud: Cloud, alg: str) -> None:
    """STS answers with everything that the API reference lists for an OIDC token."""
    answer = assume(cloud, token=cloud.mint_token(alg=alg), Policy=policy(ECR_STATEMENT), DurationSeconds=900)
    session = cloud.world.sessions[answer["Credentials"]["AccessKeyId"]]
    assert answer["Credentials"]["SecretAccessKey"] == session.secret_key
    assert answer["Credentials"]["SessionToken"] == session.token
    assert answer["Credentials"]["Expiration"].timestamp() == int(session.expires_s)
    assert cloud.now() + 890 < session.expires_s <= cloud.now() + 900
    assert answer["SubjectFromWebIdentityToken"] == SUBJECT
    assert answer["Audience"] == AUDIENCE
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/pull-team-a/prod-1.team-a.web"
    assert answer["AssumedRoleUser"]["AssumedRoleId"].startswith("AROA")
    assert answer["Provider"].endswith("/clusters/prod-1")
    assert 0 < answer["PackedPolicySize"] <= 100
    assert session.policy_text == policy(ECR_STATEMENT)
    assert answer["ResponseMetadata"]["RequestId"]


def test_a_session_becomes_a_password(cloud: Cloud) -> None:
    """ECR answers with a token for 12 hours, for the caller's account in the region that was signed for."""
    keys = credentials(cloud)
    (data,) = authorization(cloud, keys, region="eu-west-1")["authorizationData"]
    user, _, secret = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    issued = cloud.world.passwords[secret]
    assert user == "AWS"
    assert issued.region == "eu-west-1"
    assert issued.session.access_key == keys["AccessKeyId"]
    assert abs(data["expiresAt"].timestamp() - issued.expires_s) < 0.01
    assert 11.9 * 3600 < issued.expires_s - cloud.now() <= 12 * 3600
    assert data["proxyEndpoint"] == f"https://{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"


def test_other_registries_may_be_asked_for(cloud: Cloud) -> None:
    """The deprecated parameter gives an entry for each account."""
    data = authorization(cloud, credentials(cloud), registryIds=["444455556666", ACCOUNT])["authorizationData"]
    assert [entry["proxyEndpoint"][8:20] for entry in data] == ["444455556666", ACCOUNT]
    code, _, _ = refused(lambda: authorization(cloud, credentials(cloud), registryIds=["team"]))
    assert code == "InvalidParameterException"


def test_over_tls(cloud: Cloud) -> None:
    """Both services serve the same over TLS, to those who trust the CA."""
    at = cloud.endpoints
    with client("sts", at.sts_tls, verify=at.ca_file) as sts:
        answer = sts.assume_role_with_web_identity(
            RoleArn=role_arn("pull-team-b"), RoleSessionName="x-y", WebIdentityToken=cloud.mint_token("team-b", "db")
        )
    with client("ecr", at.ecr_tls, verify=at.ca_file, credentials=answer["Credentials"]) as ecr:
        assert ecr.get_authorization_token()["authorizationData"]
    assert [request.tls for request in cloud.requests()] == [True] * 4, "the issuer is asked over TLS as well"


def test_who_am_i(cloud: Cloud) -> None:
    """GetCallerIdentity names the session to whoever holds its keys, and nobody else."""
    keys = credentials(cloud)
    with client("sts", cloud.endpoints.sts, credentials=keys) as sts:
        assert sts.get_caller_identity()["Arn"].endswith(":assumed-role/pull-team-a/prod-1.team-a.web")
        cloud.configure(skew_s=290)
        assert sts.get_caller_identity()["Account"] == ACCOUNT
    with client("sts", cloud.endpoints.sts, credentials=keys | {"SecretAccessKey": "wrong"}) as sts:
        assert refused(sts.get_caller_identity)[:2] == ("SignatureDoesNotMatch", 403)


def test_what_was_sent_is_recorded(cloud: Cloud) -> None:
    """A test sees the parameters, the headers and the bytes of every request."""
    token = cloud.mint_token()
    assume(cloud, token=token, RoleSessionName="a.b+c=d")
    sent = cloud.last("sts.AssumeRoleWithWebIdentity")
    assert sent.parameters == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role_arn("pull-team-a"),
        "RoleSessionName": "a.b+c=d",
        "WebIdentityToken": token,
    }
    assert (sent.method, sent.path, sent.host, sent.tls, sent.status, sent.code) == (
        "POST", "/", "127.0.0.1", False, 200, None,
    )  # fmt: skip
    assert b"a.b%2Bc%3Dd" in sent.body
    assert "authorization" not in sent.headers
    assert cloud.counts() == {"sts.AssumeRoleWithWebIdentity": 1, "issuer.discovery": 1, "issuer.jwks": 1}
    assert sent.principal == cloud.world.sessions.popitem()[1].arn


def test_what_is_no_service_is_recorded_too(cloud: Cloud) -> None:
    """A request that nobody serves is a 404 and stands in the journal, and so does one for a foreign host."""
    assert request(cloud.endpoints.sts + "/elastic").status == 404
    assert cloud.last().where == "unknown.unknown"
    assert request(cloud.endpoints.sts + "/v2/", headers={"Host": "registry.example.test"}).status == 200
    assert cloud.last().where == "elsewhere.GET"


# --- STS says no to tokens


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"lifetime_s": -1}, "ExpiredTokenException"),
        ({"lifetime_s": 0}, "ExpiredTokenException"),
        ({"issued_s": 600}, "InvalidIdentityToken"),
        ({"claims": {"nbf": 2**33}}, "InvalidIdentityToken"),
        ({"claims": {"exp": 2.5e9}}, "InvalidIdentityToken"),
        ({"claims": {"exp": "4000000000"}}, "InvalidIdentityToken"),
        ({"claims": {"exp": True}}, "InvalidIdentityToken"),
        ({"audience": "sts.amazonaws.com"}, "InvalidIdentityToken"),
        ({"audience": []}, "InvalidIdentityToken"),
        ({"claims": {"aud": [1, {}]}}, "InvalidIdentityToken"),
        ({"claims": {"aud": {"a": "b"}}}, "InvalidIdentityToken"),
        ({"claims": {"iss": "https://elsewhere.example.test"}}, "InvalidIdentityToken"),
        ({"claims": {"iss": ["x"]}}, "InvalidIdentityToken"),
        ({"claims": {"sub": ["system:serviceaccount:team-a:web"]}}, "InvalidIdentityToken"),
        ({"remove": ["iss"]}, "InvalidIdentityToken"),
        ({"remove": ["aud"]}, "InvalidIdentityToken"),
        ({"remove": ["exp"]}, "InvalidIdentityToken"),
        ({"remove": ["iat"]}, "InvalidIdentityToken"),
        ({"remove": ["sub"]}, "InvalidIdentityToken"),
        ({"alg": "none"}, "InvalidIdentityToken"),
        ({"alg": "HS256"}, "InvalidIdentityToken"),
        ({"key": "wrong"}, "InvalidIdentityToken"),
        ({"key": "wrong", "alg": "ES256"}, "InvalidIdentityToken"),
        ({"key": "unknown"}, "InvalidIdentityToken"),
        ({"header": {"kid": None}}, "InvalidIdentityToken"),
        ({"header": {"kid": 7}}, "InvalidIdentityToken"),
        ({"header": {"alg": "ES256"}}, "InvalidIdentityToken"),
        ({"header": {"crit": ["x"]}}, "InvalidIdentityToken"),
        ({"payload": b"not json"}, "InvalidIdentityToken"),
        ({"payload": b'["a"]'}, "InvalidIdentityToken"),
    ],
    ids=str,
)
def test_sts_refuses_a_token(cloud: Cloud, change: dict[str, Any], code: str) -> None:
    """Anything wrong with the token is refused with the code that AWS has for it."""
    assert refused(lambda: assume(cloud, token=cloud.mint_token(**change)))[:2] == (code, 400)
    assert not cloud.world.sessions
    assert cloud.last("sts").code == code


@pytest.mark.parametrize("token", ["abcd", "a.b.c", "a" * 20000, "eyJhbGciOiJub25lIn0..", "ünïcödé"])
def test_sts_refuses_what_is_no_token(cloud: Cloud, token: str) -> None:
    """Anything may be sent as a token."""
    assert refused(lambda: assume(cloud, token=token))[0] == "InvalidIdentityToken"


def test_an_altered_token_is_refused(cloud: Cloud) -> None:
    """The signature covers the claims."""
    head, _, tail = cloud.mint_token("team-b", "web").split(".")
    claims = cloud.mint_token("team-a", "web").split(".")[1]
    assert refused(lambda: assume(cloud, token=f"{head}.{claims}.{tail}"))[0] == "InvalidIdentityToken"


def test_another_clusters_token_is_refused(cloud: Cloud) -> None:
    """An issuer that the account does not know is refused; one that it knows is good for its own roles only."""
    url = cloud.add_issuer("prod-2")
    token = cloud.mint_token(cluster="prod-2")
    assert refused(lambda: assume(cloud, token=token))[0] == "InvalidIdentityToken"
    provider = cloud.set_provider(url, [AUDIENCE])
    assert refused(lambda: assume(cloud, token=token))[0] == "AccessDenied"
    cloud.set_role("of-prod-2", trust=trust_document(url, provider.arn, AUDIENCE, SUBJECT), policy=pull_document("x"))
    assert assume(cloud, "of-prod-2", token)["Provider"] == provider.arn
    forged = cloud.mint_token(cluster="prod-2", claims={"iss": cloud.issuer})
    assert refused(lambda: assume(cloud, token=forged))[0] == "InvalidIdentityToken"


def test_the_clouds_clock_judges(cloud: Cloud) -> None:
    """A cloud whose clock is ahead sees an expired token; one whose clock is behind, one from the future."""
    token = cloud.mint_token(lifetime_s=600)
    cloud.configure(skew_s=601)
    assert refused(lambda: assume(cloud, token=token))[0] == "ExpiredTokenException"
    cloud.configure(leeway_s=300)
    assert assume(cloud, token=token)
    cloud.configure(skew_s=-400)
    assert refused(lambda: assume(cloud, token=token))[0] == "InvalidIdentityToken"


def test_rotated_keys(cloud: Cloud) -> None:
    """Tokens signed by the old key are good while it is published, and no longer."""
    old = cloud.mint_token()
    cloud.rotate_keys()
    assert assume(cloud, token=old)
    assert assume(cloud, token=cloud.mint_token())
    cloud.rotate_keys(keep_old=False)
    assert refused(lambda: assume(cloud, token=old))[0] == "InvalidIdentityToken"
    assert assume(cloud, token=cloud.mint_token(alg="ES256"))


@pytest.mark.parametrize(
    "fault", ["cut", "garbage", "other-shape", "InternalError", "truncate", "redirect", "empty", "reset"]
)
@pytest.mark.parametrize("operation", ["issuer.discovery", "issuer.jwks"])
def test_an_issuer_that_cannot_be_asked(cloud: Cloud, operation: str, fault: str) -> None:
    """STS says that it could not reach the issuer, and can a moment later."""
    cloud.fault(operation, fault)
    assert refused(lambda: assume(cloud))[:2] == ("IDPCommunicationError", 400)
    assert assume(cloud)


# --- STS says no to parameters


@pytest.mark.parametrize(
    ("parameters", "code", "says"),
    [
        ({"RoleSessionName": "team-a:web"}, "ValidationError", "roleSessionName"),
        ({"RoleSessionName": "team-ä"}, "ValidationError", "roleSessionName"),
        ({"RoleSessionName": "a" * 65}, "ValidationError", "less than or equal to 64"),
        ({"RoleSessionName": "line\n"}, "ValidationError", "regular expression"),
        ({"DurationSeconds": 43201}, "ValidationError", "less than or equal to 43200"),
        ({"DurationSeconds": 3601}, "ValidationError", "MaxSessionDuration"),
        ({"RoleArn": "arn:aws:iam::111122223333:user/someone"}, "ValidationError", "is invalid"),
        ({"RoleArn": "x" * 2049}, "ValidationError", "2048"),
        ({"Policy": "x" * 2049}, "ValidationError", "2048"),
        ({"Policy": '{"a": "\u20ac"}'}, "ValidationError", "regular expression"),
        ({"Policy": "{"}, "MalformedPolicyDocument", "invalid Json"),
        ({"Policy": "[]"}, "MalformedPolicyDocument", "Syntax"),
        ({"Policy": policy()}, "MalformedPolicyDocument", "Syntax"),
        ({"Policy": policy({**ECR_STATEMENT, "Efect": "x"})}, "MalformedPolicyDocument", "Syntax"),
        ({"Policy": policy({**ECR_STATEMENT, "Resource": "team-a"})}, "MalformedPolicyDocument", "ARN"),
        ({"Policy": policy({**ECR_STATEMENT, "Action": "read"})}, "MalformedPolicyDocument", "vendor"),
        ({"Policy": policy({**ECR_STATEMENT, "Principal": "*"})}, "MalformedPolicyDocument", "principal"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]}, "ValidationError", "PolicyArns"),
    ],
    ids=str,
)
def test_sts_refuses_parameters(cloud: Cloud, parameters: dict[str, Any], code: str, says: str) -> None:
    """Limits that the SDK does not check are checked by the service."""
    got, status, message = refused(lambda: assume(cloud, **parameters))
    assert (got, status) == (code, 400)
    assert says in message


def test_sts_names_every_parameter_that_fails(cloud: Cloud) -> None:
    """As AWS does, all failures come in one message; the token is not shown."""
    _, _, message = refused(lambda: assume(cloud, token="s3cret" * 4000, RoleSessionName="//", DurationSeconds=50000))
    assert message.startswith("3 validation errors detected")
    assert "s3cret" not in message


def test_the_longest_session_is_the_roles(cloud: Cloud) -> None:
    """A role may allow longer sessions."""
    cloud.set_role("pull-team-a", max_session_s=43200)
    expiration = assume(cloud, DurationSeconds=43200)["Credentials"]["Expiration"]
    assert expiration.timestamp() > cloud.now() + 43100


def test_a_policy_too_large_when_packed(cloud: Cloud) -> None:
    """Below 2048 characters a policy may still be too large."""
    cloud.configure(packed_limit_bytes=50)
    assert refused(lambda: assume(cloud, Policy=policy(ECR_STATEMENT)))[:2] == ("PackedPolicyTooLarge", 400)


FORM = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15"


@pytest.mark.parametrize(
    ("form", "code", "status"),
    [
        ("Action=AssumeRoleWithWebIdentity", "InvalidAction", 400),
        ("Action=AssumeRoot&Version=2011-06-15", "InvalidAction", 400),
        ("Version=2011-06-15", "MissingAction", 400),
        (FORM, "ValidationError", 400),
        (FORM + "&DurationSeconds=1h", "MalformedInput", 400),
        ("Action=GetCallerIdentity&Version=2011-06-15", "MissingAuthenticationToken", 403),
    ],
)
def test_sts_refuses_a_form(cloud: Cloud, form: str, code: str, status: int) -> None:
    """The query protocol by hand: action, version and presence of parameters are checked."""
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    reply = request(cloud.endpoints.sts, "POST", form.encode(), headers)
    assert reply.status == status
    assert f"<Code>{code}</Code>".encode() in reply.body
    assert reply.headers["content-type"] == "text/xml"


def test_limits_that_the_sdk_keeps_to_are_kept_by_the_service_too(cloud: Cloud) -> None:
    """The shortest values, which no SDK sends."""
    short = "&RoleArn=arn:aws&RoleSessionName=x&WebIdentityToken=abc&DurationSeconds=899"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = request(cloud.endpoints.sts, "POST", (FORM + short).encode(), headers)
    assert b"4 validation errors detected" in reply.body
    assert b"Member must have value greater than or equal to 900" in reply.body
    assert b"Member must have length greater than or equal to 20" in reply.body


def test_sts_takes_tokens_neither_by_get_nor_credentials(cloud: Cloud) -> None:
    """A token in a URL, or sent along with credentials, is a mistake of the caller's."""
    parameters = f"RoleArn={role_arn('pull-team-a')}&RoleSessionName=x-y&WebIdentityToken={cloud.mint_token()}"
    reply = request(f"{cloud.endpoints.sts}/?{FORM}&{parameters}")
    assert (reply.status, b"<Code>InvalidAction</Code>" in reply.body) == (400, True)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": "AWS4-HMAC-SHA256 x"}
    reply = request(cloud.endpoints.sts, "POST", f"{FORM}&{parameters}".encode(), headers)
    assert (reply.status, b"<Code>InvalidClientTokenId</Code>" in reply.body) == (403, True)
    assert not cloud.world.sessions

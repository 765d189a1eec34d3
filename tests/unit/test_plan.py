"""What would be sent to AWS: the plan, the hops it takes, its key; and the table of exchangers."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from factories import ROLE, make_config, make_ecr, make_subject, make_target
from pullpass import config, exchange, registry
from pullpass.errors import REFUSED, PullpassError
from pullpass.exchange import Call, aws_session, plan, plan_aws
from pullpass.exchange.plan_aws import BY_KEYS, BY_TOKEN, Hop
from pullpass.policy import Decision

if TYPE_CHECKING:
    from pullpass.exchange.plan_aws import AwsPlan
    from pullpass.identity import Subject

VIA = "arn:aws:iam::444455556666:role/registry/reader"
STS_URL = "https://sts.us-west-2.amazonaws.com"
ECR_URL = "https://api.ecr.us-west-2.amazonaws.com"
METADATA_URL = "http://169.254.169.254"
PUBLIC = registry.match("public.ecr.aws/docker/library/busybox")._asdict()


def decision(**fields: Any) -> Decision:
    """The decision for `ROLE` by a grant without extras."""
    return Decision("team images", ROLE, "", pull_through=False)._replace(**fields)


def make(subject: Subject | None = None, *, token: bool = True, **fields: Any) -> AwsPlan:
    """The plan for an image of team-a, asked for by team-a/web or without a token.

    Args:
        subject: instead of team-a/web.
        token: whether there is a subject.
        fields: of the target, the decision, [ecr] or [node].
    """
    target = {name: fields.pop(name) for name in list(fields) if name in registry.Target._fields}
    section = {name: fields.pop(name) for name in list(fields) if name in make_ecr()._fields}
    node = {name: fields.pop(name) for name in list(fields) if name in config.Node._fields}
    whole = make_config(ecr=make_ecr(**section))
    whole = whole._replace(node=whole.node._replace(**node))
    asking = (subject or make_subject()) if token else None
    made = plan.make(asking, make_target(**target), decision(**fields), whole)
    assert isinstance(made, plan_aws.AwsPlan)
    return made


def refused(code: str, **fields: Any) -> PullpassError:
    """The refusal of a plan."""
    with pytest.raises(PullpassError) as caught:
        make(**fields)
    assert (caught.value.code, caught.value.status) == (code, REFUSED)
    return caught.value


def of(partition: str, role: str = ROLE) -> str:
    """The role's ARN in another partition."""
    return role.replace("arn:aws:", f"arn:{partition}:")


REPOSITORY_POLICY = aws_session.repository_policy(make_target(), pull_through=False)


# --- a role, by the token


def test_whole_plan() -> None:
    """Everything that would be sent follows from subject, target, decision and configuration."""
    made = make()
    assert made._replace(key="", calls=()) == plan_aws.AwsPlan(
        kind="ecr",
        key="",
        opens="ecr:aws:111122223333:us-west-2:team-a/app",
        identity=ROLE,
        region="us-west-2",
        hops=(Hop(BY_TOKEN, ROLE, REPOSITORY_POLICY, 3600),),
        session_name="prod-1_team-a_web",
        metadata_url="",
        sts_url=STS_URL,
        sts_region="us-west-2",
        password_url=ECR_URL,
        ca_bundle="",
        calls=(),
    )
    assert re.fullmatch("[0-9a-f]{64}", made.key)
    assert make() == made


def test_calls() -> None:
    """What explain shows names both calls, where they go, and what limits the session; never the token."""
    assert make().calls == (
        Call(BY_TOKEN, STS_URL, f"the token, {ROLE}, session prod-1_team-a_web for 3600s, limited to team-a/app"),
        Call("ecr:GetAuthorizationToken", ECR_URL, "signed by the session, region us-west-2"),
    )
    assert make(scope="registry").calls[0].summary.endswith("with all rights of the role")


def test_registry_scope() -> None:
    """With scope = "registry" there is no session policy, and the account's registry is opened."""
    made = make(scope="registry")
    assert (made.hops[0].session_policy, made.opens) == ("", "ecr:aws:111122223333:us-west-2")
    assert made.key == make(scope="registry", repository="team-a/other").key
    assert make().key != make(repository="team-a/other").key


def test_pull_through() -> None:
    """The actions of a pull-through cache are in the policy of a grant that says so."""
    assert "ecr:BatchImportUpstreamImage" in make(pull_through=True).hops[0].session_policy
    assert "ecr:BatchImportUpstreamImage" not in make().hops[0].session_policy


@pytest.mark.parametrize("code", ["repository-name", "session-policy"])
def test_policy_that_can_not_be_written(code: str) -> None:
    """A policy that would mean more than the repository, or that STS would not take, ends the plan."""
    refused(code, repository={"repository-name": "team-a/*", "session-policy": "a" * 2000}[code])


@pytest.mark.parametrize("field", ["identity", "via"])
def test_role_of_another_partition(field: str) -> None:
    """Credentials do not cross partitions, so a role of another one is refused before anything is sent."""
    assert "aws-cn" in refused("role-partition", **{field: of("aws-cn")}).what


@pytest.mark.parametrize("field", ["identity", "via"])
def test_identity_that_is_no_role(field: str) -> None:
    """A template that a long namespace made too long for IAM is refused with the reason."""
    assert "64" in refused("identity-invalid", **{field: ROLE + "x" * 64}).what


def test_role_without_a_token() -> None:
    """Policy gives no role to a request without a token; a plan of such a thing would have nothing to send."""
    with pytest.raises(PullpassError) as caught:
        make(token=False)
    assert caught.value.code == "internal"


@pytest.mark.parametrize("kind", [registry.ECR, registry.ECR_PUBLIC, registry.GCR])
def test_section_that_is_not_configured(kind: str) -> None:
    """Without a registry kind's section there is no plan for it, whoever asks."""
    bare = make_config(ecr=None, gcr=None)
    with pytest.raises(PullpassError) as caught:
        plan.make(None, make_target(kind=kind), decision(identity="node"), bare)
    assert caught.value.code == "registry-not-configured"
    assert f"[{'gcr' if kind == registry.GCR else 'ecr'}]" in caught.value.what


# --- a second hop


def test_second_hop() -> None:
    """The first session may become the second role and nothing else; the second is limited to the repository."""
    made = make(via=VIA)
    assert made.hops == (
        Hop(BY_TOKEN, ROLE, aws_session.hop_policy(VIA), 900),
        Hop(BY_KEYS, VIA, REPOSITORY_POLICY, 3600),
    )
    name = "session prod-1_team-a_web"
    assert made.calls == (
        Call(BY_TOKEN, STS_URL, f"the token, {ROLE}, {name} for 900s, limited to becoming the next"),
        Call(BY_KEYS, STS_URL, f"signed by the session, {VIA}, {name} for 3600s, limited to team-a/app"),
        Call("ecr:GetAuthorizationToken", ECR_URL, "signed by the session, region us-west-2"),
    )
    assert (made.opens, made.identity) == (make().opens, ROLE)


def test_second_hop_of_a_long_session() -> None:
    """STS makes a session of a session for an hour at most; a shorter one stays as it is."""
    assert [hop.duration_s for hop in make(via=VIA, session_duration_s=43200).hops] == [900, 3600]
    assert [hop.duration_s for hop in make(via=VIA, session_duration_s=1800).hops] == [900, 1800]


def test_second_hop_with_registry_scope() -> None:
    """The wide scope is the last role's; the first session still may do nothing but the hop."""
    first, last = make(via=VIA, scope="registry").hops
    assert (first.session_policy, last.session_policy) == (aws_session.hop_policy(VIA), "")


# --- ECR Public


def test_public() -> None:
    """A password of ECR Public is asked for in us-east-1, by a session that may do nothing else, whatever the image."""
    made = make(**PUBLIC)
    policy = aws_session.public_policy()
    assert made.kind == "ecr-public"
    assert made.opens == "ecr-public"
    assert made.hops == (Hop(BY_TOKEN, ROLE, policy, 3600),)
    assert made.calls == (
        Call(
            BY_TOKEN,
            "https://sts.us-east-1.amazonaws.com",
            f"the token, {ROLE}, session prod-1_team-a_web for 3600s, limited to a password of ECR Public",
        ),
        Call(
            "ecr-public:GetAuthorizationToken",
            "https://api.ecr-public.us-east-1.amazonaws.com",
            "signed by the session, region us-east-1",
        ),
    )
    assert make(**PUBLIC, scope="registry").hops[0].session_policy == policy
    assert make(**PUBLIC | {"repository": "x/y"}).key == made.key


def test_public_over_dual_stack() -> None:
    """The dual-stack host of ECR Public leads to dual-stack endpoints."""
    made = make(**registry.match("ecr-public.aws.com/docker/library/busybox")._asdict())
    assert made.sts_url == "https://sts.us-east-1.api.aws"
    assert made.password_url == "https://ecr-public.us-east-1.api.aws"


def test_public_endpoint_of_the_configuration() -> None:
    """ECR Public has an endpoint of its own in the configuration."""
    made = make(**PUBLIC, ecr_public_endpoint="http://127.0.0.1:5000", ecr_endpoint="http://127.0.0.1:5001")
    assert made.password_url == "http://127.0.0.1:5000"


@pytest.mark.parametrize("field", ["identity", "via"])
def test_public_from_another_partition(field: str) -> None:
    """Other partitions have no password for ECR Public; the code tells the pipeline to answer without one."""
    assert "aws-us-gov" in refused("public-partition", **PUBLIC, **{field: of("aws-us-gov")}).what


def test_public_by_a_second_hop() -> None:
    """A second hop works for ECR Public as for any registry."""
    hops = make(**PUBLIC, via=VIA).hops
    assert [hop.session_policy for hop in hops] == [aws_session.hop_policy(VIA), aws_session.public_policy()]


# --- the node


@pytest.mark.parametrize("token", [True, False])
def test_node(token: bool) -> None:
    """The node's keys ask for the password, which opens the account's registry: no session policy can limit it."""
    made = make(token=token, identity="node")
    assert made.hops == ()
    assert made.metadata_url == METADATA_URL
    assert made.opens == "ecr:aws:111122223333:us-west-2"
    assert made.calls == (
        Call(
            "metadata:credentials",
            METADATA_URL,
            "the keys of the node's own role, or its container credentials where the environment names them",
        ),
        Call(
            "ecr:GetAuthorizationToken",
            ECR_URL,
            "signed by the node's keys, region us-west-2: node-wide, it opens whatever the node may read",
        ),
    )
    assert make(token=token, identity="node", repository="x/y").key == made.key
    assert make(token=token, identity="node", session_duration_s=900, sts_endpoint="https://x.example").key == made.key


def test_node_and_public() -> None:
    """The node may have a password of ECR Public as well."""
    made = make(token=False, identity="node", **PUBLIC)
    assert (made.opens, made.hops, made.region) == ("ecr-public", (), "us-east-1")


def test_node_by_a_second_hop() -> None:
    """What the node becomes by a hop is limited to the repository like any session."""
    made = make(token=False, identity="node", via=VIA)
    assert made.hops == (Hop(BY_KEYS, VIA, REPOSITORY_POLICY, 3600),)
    assert made.opens == "ecr:aws:111122223333:us-west-2:team-a/app"
    assert made.session_name == "prod-1_node"
    assert [call.action for call in made.calls] == ["metadata:credentials", BY_KEYS, "ecr:GetAuthorizationToken"]
    assert made.calls[1].summary.startswith(f"signed by the node's keys, {VIA}, session prod-1_node for 3600s")
    assert make(identity="node", via=VIA).session_name == "prod-1_team-a_web"


# --- the key

DIFFERENCES: dict[str, dict[str, Any]] = {
    "issuer": {"subject": make_subject(issuer="https://oidc.example.test/c2")},
    "cluster": {"cluster": "prod-2"},
    "namespace": {"subject": make_subject(namespace="team-b")},
    "service account": {"subject": make_subject(service_account="api")},
    "service account's uid": {"subject": make_subject(uid="00000000-0000-0000-0000-000000000000")},
    "identity": {"identity": ROLE + "-2"},
    "via": {"via": VIA},
    "another via": {"via": VIA + "-2"},
    "via of the node": {"identity": "node", "via": VIA},
    "node": {"identity": "node"},
    "node without a token": {"identity": "node", "token": False},
    "metadata endpoint": {"identity": "node", "aws_metadata": "http://127.0.0.1:9911"},
    "ecr public": PUBLIC,
    "ecr public endpoint": PUBLIC | {"ecr_public_endpoint": "https://ecr-public.example.com"},
    "ecr public's dual stack": registry.match("ecr-public.aws.com/docker/library/busybox")._asdict(),
    "opens": {"repository": "team-a/other"},
    "scope": {"scope": "registry"},
    "region": {"region": "us-east-1"},
    "sts endpoint": {"sts_endpoint": "https://sts.example.com"},
    "ecr endpoint": {"ecr_endpoint": "https://ecr.example.com"},
    "session policy": {"pull_through": True},
    "session duration": {"session_duration_s": 7200},
}


def test_everything_that_matters_makes_another_key() -> None:
    """Each part of the design's one key makes a key of its own; two equal ones would mix up credentials."""
    keys = {name: make(**fields).key for name, fields in DIFFERENCES.items()}
    keys["none"] = make().key
    assert len(set(keys.values())) == len(keys)


def test_what_does_not_matter_keeps_the_key() -> None:
    """Another pod of the service account, a renewed token, or a grant's new name find the same credential."""
    same = make_subject(pod="web-2", node="node-2", expires_s=1.0, jti="another")
    assert make(same, grant="renamed").key == make().key


# --- the table


def test_every_exchanger_loads() -> None:
    """Every row of the table names something that can be imported and called as an exchanger."""
    for kind in exchange.TABLE:
        code = exchange.load(kind).__code__  # type: ignore[attr-defined]
        assert code.co_varnames[:4] == ("plan", "token", "deadline", "clock")


def test_missing_extra() -> None:
    """Without the SDK, the error says what to install; the other errors of an import are not disguised as that."""
    program = """
import sys
sys.modules["boto3"] = None
from pullpass import exchange
from pullpass.errors import PullpassError
try:
    exchange.load("ecr")
except PullpassError as error:
    print(error.line())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pullpass: extra-missing: the Python module boto3 is not installed")
    assert "pip install 'pullpass[aws]'" in done.stdout


def test_planning_is_light() -> None:
    """A plan, and the exchange package around it, load no SDK and nothing that a hit must not load."""
    program = "import sys; import pullpass.exchange.plan; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "pullpass" in loaded
    heavy = {"boto3", "botocore", "jwt", "cryptography", "dataclasses", "argparse", "tomllib", "logging", "http", "ssl"}
    assert not loaded & heavy

"""What would be sent: the plan, its key, the session's name and policy."""

from __future__ import annotations

import json
import re
import string
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import ROLE, make_config, make_ecr, make_subject, make_target
from pullpass import exchange, registry
from pullpass.errors import REFUSED, PullpassError
from pullpass.exchange import plan, plan_aws
from pullpass.policy import Decision

if TYPE_CHECKING:
    from pullpass.exchange.plan_aws import AwsPlan
    from pullpass.identity import Subject

STS_ALPHABET = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
NAMES = st.text(string.ascii_lowercase + string.digits + "-.", min_size=1, max_size=80)


def decision(**fields: Any) -> Decision:
    """The decision for `ROLE` by a grant without extras."""
    return Decision("team images", ROLE, "", pull_through=False)._replace(**fields)


def make(subject: Subject | None = None, **fields: Any) -> AwsPlan:
    """The plan for team-a/web and its image; fields of target, decision or [ecr] by keyword."""
    target = {name: fields.pop(name) for name in list(fields) if name in registry.Target._fields}
    section = {name: fields.pop(name) for name in list(fields) if name in make_ecr()._fields}
    cluster = fields.pop("cluster", "prod-1")
    config = make_config(ecr=make_ecr(**section))
    config = config._replace(node=config.node._replace(cluster=cluster))
    made = plan.make(subject or make_subject(), make_target(**target), decision(**fields), config)
    assert isinstance(made, plan_aws.AwsPlan)
    return made


def refused(code: str, **fields: Any) -> PullpassError:
    """The refusal of a plan."""
    with pytest.raises(PullpassError) as caught:
        make(**fields)
    assert (caught.value.code, caught.value.status) == (code, REFUSED)
    return caught.value


def test_whole_plan() -> None:
    """Everything that would be sent follows from subject, target, decision and configuration."""
    made = make()
    assert made._replace(key="", session_policy="", calls=()) == plan_aws.AwsPlan(
        kind="ecr",
        key="",
        opens="ecr:aws:111122223333:us-west-2:team-a/app",
        identity=ROLE,
        account="111122223333",
        region="us-west-2",
        partition="aws",
        session_name="prod-1_team-a_web",
        session_policy="",
        duration_s=3600,
        sts_url="https://sts.us-west-2.amazonaws.com",
        ecr_url="https://api.ecr.us-west-2.amazonaws.com",
        ca_bundle="",
        calls=(),
    )
    assert re.fullmatch("[0-9a-f]{64}", made.key)
    assert make() == made


def test_calls() -> None:
    """What explain shows names both calls, where they go, and what limits the session; never the token."""
    assert make().calls == (
        exchange.Call(
            "sts:AssumeRoleWithWebIdentity",
            "https://sts.us-west-2.amazonaws.com",
            f"the token, {ROLE}, session prod-1_team-a_web for 3600s, limited to team-a/app",
        ),
        exchange.Call(
            "ecr:GetAuthorizationToken",
            "https://api.ecr.us-west-2.amazonaws.com",
            "signed by the session, region us-west-2",
        ),
    )
    assert make(scope="registry").calls[0].summary.endswith("with all rights of the role")


def test_session_policy() -> None:
    """The policy is compact, lets the session log in, and pull from the one repository."""
    policy = make().session_policy
    assert json.loads(policy) == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"],
                "Resource": "arn:aws:ecr:us-west-2:111122223333:repository/team-a/app",
            },
        ],
    }
    assert " " not in policy
    assert policy.isascii()


def test_pull_through_adds_its_actions() -> None:
    """A pull-through repository may be imported, and made by that; nothing else changes."""
    plain, wider = json.loads(make().session_policy), json.loads(make(pull_through=True).session_policy)
    added = wider["Statement"][1].pop("Action")[3:]
    assert added == ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository", "ecr:TagResource"]
    plain["Statement"][1].pop("Action")
    assert wider == plain


def test_policy_names_the_partition() -> None:
    """In another partition, the repository's ARN is of that partition."""
    made = make(partition="aws-us-gov", region="us-gov-west-1", identity=ROLE.replace("arn:aws:", "arn:aws-us-gov:"))
    resource = json.loads(made.session_policy)["Statement"][1]["Resource"]
    assert resource == "arn:aws-us-gov:ecr:us-gov-west-1:111122223333:repository/team-a/app"


def test_longest_policy_fits() -> None:
    """The longest repository that an image can name, with every action, stays far below what STS takes."""
    made = make(
        repository="a" * 255,
        pull_through=True,
        partition="aws-us-gov",
        region="us-gov-west-1",
        identity=ROLE.replace("arn:aws:", "arn:aws-us-gov:"),
    )
    assert len(made.session_policy) < plan_aws.SESSION_POLICY_LIMIT / 2


def test_policy_that_is_too_long() -> None:
    """A policy that STS would not take is refused before anything is sent."""
    error = refused("session-policy", repository="a" * 2000)
    assert "characters" in error.what


@pytest.mark.parametrize("name", ["team-a/*", "team-?/app", "team-a/${aws:username}", 'a","Resource":"*', "TEAM/app"])
def test_repository_that_means_more_in_a_policy(name: str) -> None:
    """A name that IAM would read as a pattern, or that would break the JSON, never gets into a policy."""
    refused("repository-name", repository=name)


def test_registry_scope() -> None:
    """With scope = "registry" there is no session policy, and the account's registry is opened."""
    made = make(scope="registry")
    assert (made.session_policy, made.opens) == ("", "ecr:aws:111122223333:us-west-2")
    assert made.key == make(scope="registry", repository="team-a/other").key
    assert make().key != make(repository="team-a/other").key


@pytest.mark.parametrize(
    ("fields", "sts", "ecr"),
    [
        pytest.param({"fips": True}, "sts-fips.us-west-2.amazonaws.com", "ecr-fips.us-west-2.amazonaws.com", id="fips"),
        pytest.param({"dual_stack": True}, "sts.us-west-2.api.aws", "ecr.us-west-2.api.aws", id="dual-stack"),
        pytest.param(
            {"region": "cn-north-1", "partition": "aws-cn", "identity": ROLE.replace("arn:aws:", "arn:aws-cn:")},
            "sts.cn-north-1.amazonaws.com.cn",
            "api.ecr.cn-north-1.amazonaws.com.cn",
            id="china",
        ),
    ],
)
def test_endpoints_follow_the_host(fields: dict[str, Any], sts: str, ecr: str) -> None:
    """FIPS, dual-stack, region and partition of the registry host choose the API endpoints."""
    made = make(**fields)
    assert made.sts_url == f"https://{sts}"
    assert made.ecr_url.endswith(ecr)
    assert made.region == fields.get("region", "us-west-2")


def test_configured_endpoints_win() -> None:
    """Endpoints of the configuration are used whatever the host says, and each stands for itself."""
    made = make(sts_endpoint="https://sts.example.com/base", fips=True)
    assert made.sts_url == "https://sts.example.com/base"
    assert "ecr-fips.us-west-2" in made.ecr_url
    assert make(ecr_endpoint="http://127.0.0.1:5000").ecr_url == "http://127.0.0.1:5000"


def test_role_of_another_partition() -> None:
    """Credentials do not cross partitions, so a role of another one is refused before anything is sent."""
    error = refused("role-partition", identity=ROLE.replace("arn:aws:", "arn:aws-cn:"))
    assert "aws-cn" in error.what


def test_identity_that_is_no_role() -> None:
    """A template that a long namespace made too long for IAM is refused with the reason."""
    error = refused("identity-invalid", identity=ROLE + "x" * 64)
    assert "64" in error.what


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"identity": "node"}, id="node"),
        pytest.param({"kind": registry.ECR_PUBLIC}, id="ecr-public"),
        pytest.param({"via": ROLE}, id="via"),
    ],
)
def test_not_available(fields: dict[str, Any]) -> None:
    """What this version does not exchange is refused, and the code says why."""
    refused("not-available", **fields)


def test_no_token_is_not_available() -> None:
    """Without a subject there is no token to exchange."""
    with pytest.raises(PullpassError) as caught:
        plan.make(None, make_target(), decision(), make_config())
    assert caught.value.code == "not-available"


DIFFERENCES: dict[str, dict[str, Any]] = {
    "issuer": {"subject": make_subject(issuer="https://oidc.example.test/c2")},
    "cluster": {"cluster": "prod-2"},
    "namespace": {"subject": make_subject(namespace="team-b")},
    "service account": {"subject": make_subject(service_account="api")},
    "service account's uid": {"subject": make_subject(uid="00000000-0000-0000-0000-000000000000")},
    "identity": {"identity": ROLE + "-2"},
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


@given(NAMES, NAMES, NAMES)
def test_session_name_fits_sts(cluster: str, namespace: str, account: str) -> None:
    """Every session name is of STS's alphabet and length, and shows at least 12 characters of each part."""
    name = plan_aws.session_name(cluster, namespace, account)
    assert STS_ALPHABET.fullmatch(name)
    shown = name.partition("=")[0].split("_")
    assert len(shown) == 3
    for part, whole in zip(shown, (cluster, namespace, account), strict=True):
        assert whole.startswith(part)
        assert len(part) >= min(12, len(whole))


@given(st.lists(st.tuples(NAMES, NAMES, NAMES), unique=True, min_size=2, max_size=30))
def test_session_names_do_not_collide(workloads: list[tuple[str, str, str]]) -> None:
    """Different workloads have different session names."""
    assert len({plan_aws.session_name(*workload) for workload in workloads}) == len(workloads)


def test_session_names_that_joining_would_confuse() -> None:
    """Neither moving a character over a border nor a name that looks like a cut one makes two workloads one."""
    long = "n" * 63
    cut = plan_aws.session_name("prod-1", long, "web")
    workloads = [
        ("a", "b-c", "d"), ("a-b", "c", "d"), ("a", "b", "c-d"),
        ("prod-1", long, "web"), ("prod-1", long, "web2"), ("prod-1", "n" * 62, "web"),
        tuple(cut.partition("=")[0].split("_")),
    ]  # fmt: skip
    assert len({plan_aws.session_name(*workload) for workload in workloads}) == len(workloads)
    assert "=" in cut


@pytest.mark.parametrize("name", ["a_b", "a=b", "ä", "a b", "a/b", "A", "a\n"])
def test_session_name_of_strange_parts(name: str) -> None:
    """A part with characters that no Kubernetes name has can't imitate another workload's session."""
    made = plan_aws.session_name("prod-1", name, "web")
    assert STS_ALPHABET.fullmatch(made)
    assert made.startswith("prod-1_")
    assert re.fullmatch("[0-9a-f]{24}", made.partition("=")[2])


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

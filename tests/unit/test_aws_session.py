"""What bounds a role session: its policy and its name."""

from __future__ import annotations

import json
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import make_target
from pullpass.errors import REFUSED, PullpassError
from pullpass.exchange import aws_session

STS_ALPHABET = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
NAMES = st.text(string.ascii_lowercase + string.digits + "-.", min_size=1, max_size=80)


def policy(repository: str = "team-a/app", *, pull_through: bool = False, region: str = "us-west-2") -> str:
    """The policy for a repository."""
    partition = "aws-us-gov" if region.startswith("us-gov") else "aws"
    target = make_target(repository=repository, region=region, partition=partition)
    return aws_session.repository_policy(target, pull_through=pull_through)


def refused(code: str, repository: str) -> PullpassError:
    """The refusal of a policy."""
    with pytest.raises(PullpassError) as caught:
        policy(repository)
    assert (caught.value.code, caught.value.status) == (code, REFUSED)
    return caught.value


def test_repository_policy() -> None:
    """The policy is compact, lets the session log in, and pull from the one repository."""
    assert json.loads(policy()) == {
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
    assert " " not in policy()
    assert policy().isascii()


def test_pull_through_adds_its_actions() -> None:
    """A pull-through repository may be imported, and made by that; nothing else changes."""
    plain, wider = json.loads(policy()), json.loads(policy(pull_through=True))
    added = wider["Statement"][1].pop("Action")[3:]
    assert added == ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository", "ecr:TagResource"]
    plain["Statement"][1].pop("Action")
    assert wider == plain


def test_policy_names_the_partition() -> None:
    """In another partition, the repository's ARN is of that partition."""
    resource = json.loads(policy(region="us-gov-west-1"))["Statement"][1]["Resource"]
    assert resource == "arn:aws-us-gov:ecr:us-gov-west-1:111122223333:repository/team-a/app"


def test_longest_policy_fits() -> None:
    """The longest repository that an image can name, with every action, stays far below what STS takes."""
    assert len(policy("a" * 255, pull_through=True, region="us-gov-west-1")) < aws_session.POLICY_LIMIT / 2


def test_policy_that_is_too_long() -> None:
    """A policy that STS would not take is refused before anything is sent."""
    assert "characters" in refused("session-policy", "a" * 2000).what


@pytest.mark.parametrize("name", ["team-a/*", "team-?/app", "team-a/${aws:username}", 'a","Resource":"*', "TEAM/app"])
def test_repository_that_means_more_in_a_policy(name: str) -> None:
    """A name that IAM would read as a pattern, or that would break the JSON, never gets into a policy."""
    refused("repository-name", name)


def test_public_policy() -> None:
    """A session for ECR Public may do the two things that a password of it takes."""
    assert json.loads(aws_session.public_policy())["Statement"] == [
        {
            "Effect": "Allow",
            "Action": ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"],
            "Resource": "*",
        }
    ]


def test_hop_policy() -> None:
    """A session that only becomes another role may do nothing else."""
    role = "arn:aws:iam::444455556666:role/registry/reader"
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}
    assert json.loads(aws_session.hop_policy(role))["Statement"] == [statement]


def test_hop_policy_of_a_role_that_means_more() -> None:
    """IAM allows `${` in a path, where a policy reads a variable."""
    with pytest.raises(PullpassError) as caught:
        aws_session.hop_policy("arn:aws:iam::444455556666:role/${aws:username}/reader")
    assert (caught.value.code, caught.value.status) == ("identity-invalid", REFUSED)


@given(NAMES, NAMES, NAMES)
def test_session_name_fits_sts(cluster: str, namespace: str, account: str) -> None:
    """Every session name is of STS's alphabet and length, and shows at least 12 characters of each part."""
    name = aws_session.name(cluster, namespace, account)
    assert STS_ALPHABET.fullmatch(name)
    shown = name.partition("=")[0].split("_")
    assert len(shown) == 3
    for part, whole in zip(shown, (cluster, namespace, account), strict=True):
        assert whole.startswith(part)
        assert len(part) >= min(12, len(whole))


@given(st.lists(st.tuples(NAMES, NAMES, NAMES), unique=True, min_size=2, max_size=30))
def test_session_names_do_not_collide(workloads: list[tuple[str, str, str]]) -> None:
    """Different workloads have different session names."""
    assert len({aws_session.name(*workload) for workload in workloads}) == len(workloads)


def test_session_names_that_joining_would_confuse() -> None:
    """Neither moving a character over a border nor a name that looks like a cut one makes two workloads one."""
    long = "n" * 63
    cut = aws_session.name("prod-1", long, "web")
    workloads = [
        ("a", "b-c", "d"), ("a-b", "c", "d"), ("a", "b", "c-d"),
        ("prod-1", long, "web"), ("prod-1", long, "web2"), ("prod-1", "n" * 62, "web"),
        tuple(cut.partition("=")[0].split("_")),
    ]  # fmt: skip
    assert len({aws_session.name(*workload) for workload in workloads}) == len(workloads)
    assert "=" in cut


@pytest.mark.parametrize("name", ["a_b", "a=b", "ä", "a b", "a/b", "A", "a\n"])
def test_session_name_of_strange_parts(name: str) -> None:
    """A part with characters that no Kubernetes name has can't imitate another workload's session."""
    made = aws_session.name("prod-1", name, "web")
    assert STS_ALPHABET.fullmatch(made)
    assert made.startswith("prod-1_")
    assert re.fullmatch("[0-9a-f]{24}", made.partition("=")[2])


@given(NAMES, NAMES, NAMES, NAMES)
def test_node_is_no_workload(cluster: str, namespace: str, account: str, other: str) -> None:
    """No workload, in whatever cluster, has the session name of a node."""
    assert aws_session.node_name(other) != aws_session.name(cluster, namespace, account)

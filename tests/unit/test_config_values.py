"""What the configuration may say, and what becomes of it."""

from __future__ import annotations

import tomllib

import pytest

from configurations import ABSENT, BOTH, IMAGE, KEY, LEAST, PROVIDER, ROLE, accept, grant
from pullpass.config import Alias, ApprovalTimes, Audit, Config, Ecr, Gcr, Grant, Node, Paths, schema
from pullpass.config.checks import duration_ns

# --- values


def test_the_least_configuration_has_the_defaults() -> None:
    """Everything that is not required has the design's default."""
    assert accept(LEAST) == Config(
        node=Node(
            "prod-1",
            ("https://oidc.example.test/c1",),
            jwks="",
            deadline_s=45.0,
            ca_bundle="",
            aws_metadata="http://169.254.169.254",
            google_metadata="http://169.254.169.254",
        ),
        paths=Paths("/var/lib/pullpass", "/run/pullpass", "/var/lib/kubelet"),
        approval=ApprovalTimes(
            max_age_s=3600.0, recheck_s=600.0, margin_s=120.0, min_life_s=30.0, outage_s=14400.0, denied_for_s=30.0
        ),
        unmatched="refuse",
        audit=Audit(keep_s=90 * 86400.0, when_full="refuse"),
        ecr=Ecr(
            audience="pull.ecr.prod-1",
            scope="repository",
            session_duration_s=3600,
            sts_endpoint="",
            ecr_endpoint="",
            ecr_public_endpoint="",
            aliases=(),
        ),
        gcr=None,
        grants=(
            Grant(
                name="grant 1",
                service_accounts=("team-a/*",),
                images=(IMAGE,),
                node=False,
                identity=ROLE,
                annotations=(),
                allow=(),
                via="",
                pull_through=False,
            ),
        ),
    )


def test_google_alone_is_enough() -> None:
    """[gcr] has its defaults too, and [ecr] may be absent."""
    loaded = accept(BOTH, ("ecr", ABSENT), ("grant.1", ABSENT))
    assert loaded.ecr is None
    assert loaded.gcr == Gcr(
        audience="pull.gcr.prod-1",
        provider=PROVIDER,
        oauth_scope="https://www.googleapis.com/auth/cloud-platform",
        token_url="",
        iam_credentials_url="",
        universe_domain="googleapis.com",
        token_lifetime_s=3600,
        hosts=(),
    )


EVERY_KEY = """
version = 1
[node]
cluster = "c-1"
issuers = ["https://oidc.example.test/c1", "https://kubernetes.default.svc"]
jwks = "/etc/pullpass/jwks.json"
deadline = "1.5s"
ca_bundle = "/etc/pullpass/ca.pem"
aws_metadata = "http://[fd00:ec2::254]"
google_metadata = "http://127.0.0.1:8081"
[paths]
state = "/srv/state"
runtime = "/srv/run"
kubelet = "/srv/kubelet"
[approval]
max_age = "1h30m"
recheck = "1s"
margin = "0s"
min_life = "0"
outage = "0s"
denied_for = "250ms"
[policy]
unmatched = "node"
[audit]
keep = "45d"
when_full = "issue"
[ecr]
audience = "a"
scope = "registry"
session_duration = "12h"
sts_endpoint = "http://127.0.0.1:8080"
ecr_endpoint = "http://localhost:8080/ecr/"
ecr_public_endpoint = "http://[::1]:8080"
[[ecr.alias]]
host = "images.example.com:5000"
account = "444455556666"
region = "cn-north-1"
[gcr]
audience = "b"
provider = "identitynamespace:proj.svc.id.goog:https://container.googleapis.com/v1/projects/p/locations/l/clusters/c"
oauth_scope = "https://www.googleapis.com/auth/iam openid"
token_url = "https://sts.example.com/v1/token"
iam_credentials_url = "https://iam.example.com"
universe_domain = "example.com"
token_lifetime = "10m"
hosts = ["registry.example.com"]
[[grant]]
name = "one"
service_accounts = ["a/b", "c*/*-d"]
images = ["images.example.com:5000/a/**/b*"]
identity = "arn:aws-cn:iam::444455556666:role/{cluster}/{namespace}_{service_account}"
via = "arn:aws-cn:iam::777788889999:role/reader"
pull_through = true
[[grant]]
service_accounts = ["*/*"]
images = ["registry.example.com/**", "*.dkr.ecr.us-west-2.amazonaws.com/**"]
identity = { annotation = ["b.example.com/x", "y"], allow = ["principal", "{namespace}@p.iam.gserviceaccount.com"] }
[[grant]]
node = true
images = ["gcr.io/**"]
identity = "node"
pull_through = false
"""


def test_every_key_has_its_value() -> None:
    """Every key that is given is found in the configuration, in seconds where it is a duration."""
    loaded = schema.check(tomllib.loads(EVERY_KEY), "config.toml")
    issuers = ("https://oidc.example.test/c1", "https://kubernetes.default.svc")
    assert loaded.node == Node(
        "c-1",
        issuers,
        "/etc/pullpass/jwks.json",
        1.5,
        "/etc/pullpass/ca.pem",
        "http://[fd00:ec2::254]",
        "http://127.0.0.1:8081",
    )
    assert loaded.paths == Paths("/srv/state", "/srv/run", "/srv/kubelet")
    assert loaded.approval == ApprovalTimes(5400.0, 1.0, 0.0, 0.0, 0.0, 0.25)
    assert (loaded.unmatched, loaded.audit) == ("node", Audit(45 * 86400.0, "issue"))
    assert loaded.ecr == Ecr(
        audience="a",
        scope="registry",
        session_duration_s=43200,
        sts_endpoint="http://127.0.0.1:8080",
        ecr_endpoint="http://localhost:8080/ecr/",
        ecr_public_endpoint="http://[::1]:8080",
        aliases=(Alias("images.example.com:5000", "444455556666", "cn-north-1"),),
    )
    assert loaded.gcr == Gcr(
        audience="b",
        provider=(
            "identitynamespace:proj.svc.id.goog:https://container.googleapis.com/v1/projects/p/locations/l/clusters/c"
        ),
        oauth_scope="https://www.googleapis.com/auth/iam openid",
        token_url="https://sts.example.com/v1/token",
        iam_credentials_url="https://iam.example.com",
        universe_domain="example.com",
        token_lifetime_s=600,
        hosts=("registry.example.com",),
    )


def test_every_key_of_a_grant_has_its_value() -> None:
    """The three kinds of grants: a fixed identity, one that an annotation chooses, and the node's."""
    assert schema.check(tomllib.loads(EVERY_KEY), "config.toml").grants == (
        Grant(
            name="one",
            service_accounts=("a/b", "c*/*-d"),
            images=("images.example.com:5000/a/**/b*",),
            node=False,
            identity="arn:aws-cn:iam::444455556666:role/{cluster}/{namespace}_{service_account}",
            annotations=(),
            allow=(),
            via="arn:aws-cn:iam::777788889999:role/reader",
            pull_through=True,
        ),
        Grant(
            name="grant 2",
            service_accounts=("*/*",),
            images=("registry.example.com/**", "*.dkr.ecr.us-west-2.amazonaws.com/**"),
            node=False,
            identity="",
            annotations=("b.example.com/x", "y"),
            allow=("principal", "{namespace}@p.iam.gserviceaccount.com"),
            via="",
            pull_through=False,
        ),
        Grant(
            name="grant 3",
            service_accounts=(),
            images=("gcr.io/**",),
            node=True,
            identity="node",
            annotations=(),
            allow=(),
            via="",
            pull_through=False,
        ),
    )


def test_one_annotation_needs_no_array() -> None:
    """A single key and an array of one are the same."""
    identity = {"annotation": KEY, "allow": [ROLE]}
    loaded = accept(LEAST, ("grant.1", grant(identity=identity)))
    assert loaded.grants[0].annotations == (KEY,)
    assert loaded == accept(LEAST, ("grant.1", grant(identity=identity | {"annotation": [KEY]})))


@pytest.mark.parametrize(
    ("text", "expected_ns"),
    [
        ("0", 0),
        ("0s", 0),
        ("90s", 90 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("1.5h", 5400 * 10**9),
        (".5h", 1800 * 10**9),
        ("5.h", 5 * 3600 * 10**9),
        ("45d", 45 * 86400 * 10**9),
        ("1d1h1m1s1ms1us1ns", (86400 + 3600 + 61) * 10**9 + 1_001_001),
        ("1\u00b5s", 1000),
        ("1\u03bcs", 1000),
        ("0.1ns", 0),
        ("0.9999999999s", 999_999_999),
        ("1s1h", 3601 * 10**9),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, expected_ns: int) -> None:
    """Fractions and repeated units as in time.ParseDuration, days on top."""
    assert duration_ns(text) == expected_ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "90",
        "s",
        ".s",
        ".",
        "1",
        "1 s",
        " 1s",
        "1s ",
        "1S",
        "-1s",
        "+1s",
        "1y",
        "1h30",
        "1..5h",
        "1_0s",
        "1e3s",
        "\u0661s",
        "1w",
        "00",
        "1s" + "0" * 64 + "s",
        "\n1s",
        "1s\n",
        "0x1s",
        "1,5h",
    ],
)
def test_what_is_no_duration(text: str) -> None:
    """Signs, blanks, missing or foreign units, other digits and endless ones are refused."""
    with pytest.raises(ValueError, match=r"\A\Z"):
        duration_ns(text)

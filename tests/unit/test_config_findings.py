"""What is said of a wrong value: where it is, what is there, what should be."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from configurations import ABSENT, BOTH, ECR_HOST, PROVIDER, finding

# --- what is wrong, key by key: (key path, value, what is said of it, what is expected)

DURATION = 'expected a duration such as "90s", "1h30m" or "2d", from '
WHOLE = 'expected a duration in whole seconds such as "90s", "1h30m" or "2d", from '
PATH = "expected an absolute path without . and .. parts, doubled or trailing slashes"
URL = ": https (http on loopback only), no user information, query or fragment"
BASE_URL = f"expected a base URL such as https://vpce-1.sts.us-west-2.vpce.amazonaws.com{URL}"
TOKEN_URL = f"expected a whole URL such as https://sts.googleapis.com/v1/token{URL}"
ISSUER = f"expected an issuer URL such as https://oidc.example.com/prod-1{URL}"
ISSUER_TEXT = "expected an issuer of 1 to 512 printable ASCII characters without blanks"
CLUSTER = "expected a name of 1 to 32 characters out of a-z, 0-9 and -"
AUDIENCE = "expected an audience of 1 to 256 printable ASCII characters without blanks"
HOST = "expected a registry host such as images.example.com"
ALIAS = {"host": "images.example.com", "account": "111122223333", "region": "us-west-2"}
VALUES = [
    # version
    ("version", ABSENT, "version is missing", "expected 1, the version that this program reads"),
    ("version", 2, "version is the integer 2", "expected 1, the version that this program reads"),
    ("version", True, "version is true", "expected 1"),
    ("version", "1", 'version is "1"', "expected 1"),
    ("version", 1.0, "version is the float 1", "expected 1"),
    ("version", 10**20, "version is a huge integer", "expected 1"),
    # tables
    (
        "nodes",
        {},
        "nodes is not a known key",
        "expected one of version, node, paths, approval, policy, audit, ecr, gcr, grant",
    ),
    ('"', 1, '"\\"" is not a known key'.replace('\\"', '"'), "expected one of version"),
    ("a b\n", 1, '"a b\\n" is not a known key', "expected one of version"),
    ("node", ABSENT, "node is missing", "expected a table [node]"),
    ("node", [1], "node is an array", "expected a table [node]"),
    (
        "node.jwks_file",
        "/x",
        "node.jwks_file is not a known key",
        "expected one of cluster, issuers, jwks, deadline, ca_bundle, aws_metadata, google_metadata",
    ),
    ("paths", "/x", 'paths is "/x"', "expected a table [paths]"),
    ("approval", False, "approval is false", "expected a table [approval]"),
    ("policy.default", "refuse", "policy.default is not a known key", "expected one of unmatched"),
    ("audit", [], "audit is an empty array", "expected a table [audit]"),
    ("ecr", [{}], "ecr is an array", "expected a table [ecr]"),
    ("gcr", {"provider": PROVIDER}, "gcr.audience is missing", AUDIENCE),
    # node
    ("node.cluster", ABSENT, "node.cluster is missing", CLUSTER),
    ("node.cluster", "", 'node.cluster is ""', CLUSTER),
    ("node.cluster", "Prod", 'node.cluster is "Prod"', CLUSTER),
    ("node.cluster", "a" * 33, f'node.cluster is "{"a" * 33}"', CLUSTER),
    ("node.cluster", "a\n", 'node.cluster is "a\\n"', CLUSTER),
    ("node.cluster", "\u0661", 'node.cluster is "\u0661"', CLUSTER),
    ("node.cluster", 1, "node.cluster is the integer 1", CLUSTER),
    ("node.issuers", ABSENT, "node.issuers is missing", "expected an array of at least one element, each an issuer"),
    ("node.issuers", [], "node.issuers is an empty array", "expected an array of at least one element, each an issuer"),
    ("node.issuers", "https://a.example", 'node.issuers is "https://a.example"', "expected an array of at least one"),
    ("node.issuers", [1], "node.issuers[1] is the integer 1", ISSUER_TEXT),
    ("node.issuers", [""], 'node.issuers[1] is ""', ISSUER_TEXT),
    ("node.issuers", ["a b"], 'node.issuers[1] is "a b"', ISSUER_TEXT),
    ("node.issuers", ["a", "a"], 'node.issuers[2] is "a" again', "expected something else than in [1]"),
    ("node.issuers", ["http://a.example"], 'node.issuers[1] is "http://a.example"', ISSUER),
    ("node.issuers", ["https://a.example?x"], 'node.issuers[1] is "https://a.example?x"', ISSUER),
    ("node.jwks", "jwks.json", 'node.jwks is "jwks.json"', PATH),
    ("node.ca_bundle", "/etc/../ca.pem", 'node.ca_bundle is "/etc/../ca.pem"', PATH),
    ("node.deadline", "56s", 'node.deadline is "56s"', f"{DURATION}1s to 55s"),
    ("node.deadline", "55.000000001s", 'node.deadline is "55.000000001s"', f"{DURATION}1s to 55s"),
    ("node.deadline", "999ms", 'node.deadline is "999ms"', f"{DURATION}1s to 55s"),
    ("node.deadline", 45, "node.deadline is the integer 45", f"{DURATION}1s to 55s"),
    ("node.deadline", "45", 'node.deadline is "45"', f"{DURATION}1s to 55s"),
    # paths
    ("paths.state", "", 'paths.state is ""', PATH),
    ("paths.state", "/", 'paths.state is "/"', PATH),
    ("paths.state", "/a/", 'paths.state is "/a/"', PATH),
    ("paths.state", "//a", 'paths.state is "//a"', PATH),
    ("paths.runtime", "/a/./b", 'paths.runtime is "/a/./b"', PATH),
    ("paths.runtime", "/a\0b", 'paths.runtime is "/a\\x00b"', PATH),
    ("paths.kubelet", {}, "paths.kubelet is a table", PATH),
    # approval
    ("approval.max_age", "0.5s", 'approval.max_age is "0.5s"', f"{DURATION}1s to 3650d"),
    ("approval.max_age", "3651d", 'approval.max_age is "3651d"', f"{DURATION}1s to 3650d"),
    ("approval.recheck", "0", 'approval.recheck is "0"', f"{DURATION}1s to 3650d"),
    ("approval.margin", "-1s", 'approval.margin is "-1s"', f"{DURATION}0s to 3650d"),
    ("approval.margin", "1h", "approval.margin is 3600s", "expected less than approval.max_age (3600s)"),
    ("approval.min_life", "soon", 'approval.min_life is "soon"', f"{DURATION}0s to 3650d"),
    ("approval.outage", float("nan"), "approval.outage is the float nan", f"{DURATION}0s to 3650d"),
    ("approval.denied_for", tomllib.loads("a = 07:32:00")["a"], "approval.denied_for is a date or time", DURATION),
    # policy and audit
    ("policy.unmatched", "allow", 'policy.unmatched is "allow"', 'expected "refuse" or "node"'),
    ("audit.keep", "23h", 'audit.keep is "23h"', f"{DURATION}1d to 3650d"),
    ("audit.when_full", None, "audit.when_full is a date or time", 'expected "refuse" or "issue"'),
    # ecr
    ("ecr.audience", ABSENT, "ecr.audience is missing", AUDIENCE),
    ("ecr.audience", "a b", 'ecr.audience is "a b"', AUDIENCE),
    ("ecr.audience", "a" * 257, 'ecr.audience is "aaa', AUDIENCE),
    ("ecr.scope", "image", 'ecr.scope is "image"', 'expected "repository" or "registry"'),
    ("ecr.session_duration", "14m59s", 'ecr.session_duration is "14m59s"', f"{WHOLE}15m to 12h"),
    ("ecr.session_duration", "12h1s", 'ecr.session_duration is "12h1s"', f"{WHOLE}15m to 12h"),
    ("ecr.session_duration", "3600.5s", 'ecr.session_duration is "3600.5s"', f"{WHOLE}15m to 12h"),
    ("ecr.sts_endpoint", "sts.example.com", 'ecr.sts_endpoint is "sts.example.com"', BASE_URL),
    ("ecr.ecr_endpoint", 1, "ecr.ecr_endpoint is the integer 1", BASE_URL),
    ("ecr.ecr_public_endpoint", "ftp://a.example", 'ecr.ecr_public_endpoint is "ftp://a.example"', BASE_URL),
    (
        "ecr.alias",
        [],
        "ecr.alias is an empty array",
        "expected an array of at least one element, each a table [[ecr.alias]]",
    ),
    (
        "ecr.alias",
        [ALIAS, ALIAS],
        'ecr.alias[2].host is "images.example.com" again',
        "expected something else than in [1]",
    ),
    (
        "ecr.alias",
        [ALIAS | {"host": "IMAGES.example.com"}],
        'ecr.alias[1].host is "IMAGES.example.com" (it has upper case',
        HOST,
    ),
    ("ecr.alias", [ALIAS | {"host": "a.example/b"}], 'ecr.alias[1].host is "a.example/b" (', HOST),
    (
        "ecr.alias",
        [ALIAS | {"host": ECR_HOST}],
        f'ecr.alias[1].host is "{ECR_HOST}" (a registry\'s own name needs no',
        HOST,
    ),
    ("ecr.alias", [ALIAS | {"host": "gcr.io"}], 'ecr.alias[1].host is "gcr.io" (a registry\'s own name needs no', HOST),
    (
        "ecr.alias",
        [ALIAS | {"host": "public.ecr.aws"}],
        'ecr.alias[1].host is "public.ecr.aws" (a registry\'s own',
        HOST,
    ),
    (
        "ecr.alias",
        [ALIAS | {"account": 111122223333}],
        "ecr.alias[1].account is the integer 111122223333",
        "12 digits, in quotes",
    ),
    ("ecr.alias", [ALIAS | {"account": "1"}], 'ecr.alias[1].account is "1"', "expected an AWS account of 12 digits"),
    (
        "ecr.alias",
        [ALIAS | {"region": "us-west"}],
        'ecr.alias[1].region is "us-west"',
        "expected an AWS region such as us-west-2",
    ),
    ("ecr.alias", [ALIAS | {"region": "moon-1"}], 'ecr.alias[1].region is "moon-1"', "expected an AWS region"),
    (
        "ecr.alias",
        [{"host": "images.example.com", "account": "111122223333"}],
        "ecr.alias[1].region is missing",
        "an AWS region",
    ),
    # gcr
    (
        "gcr.audience",
        "pull.ecr.prod-1",
        'gcr.audience is "pull.ecr.prod-1" like ecr.audience',
        "expected another audience",
    ),
    (
        "gcr.provider",
        ABSENT,
        "gcr.provider is missing",
        "expected //iam.googleapis.com/projects/NUMBER/locations/global/",
    ),
    (
        "gcr.provider",
        PROVIDER.replace("123", "my-project"),
        f'gcr.provider is "{PROVIDER.replace("123", "my-project")}"',
        "NUMBER",
    ),
    ("gcr.provider", f"https:{PROVIDER}", f'gcr.provider is "https:{PROVIDER}"', "expected //iam.googleapis.com"),
    (
        "gcr.provider",
        "identitynamespace:p.svc.id.goog",
        'gcr.provider is "identitynamespace:p.svc.id.goog"',
        "PROVIDER_URL",
    ),
    ("gcr.oauth_scope", "", 'gcr.oauth_scope is ""', "expected OAuth scopes, separated by single blanks"),
    ("gcr.oauth_scope", "a  b", 'gcr.oauth_scope is "a  b"', "expected OAuth scopes"),
    ("gcr.oauth_scope", 'a"', 'gcr.oauth_scope is "a""', "expected OAuth scopes"),
    ("gcr.token_url", "https://sts.googleapis.com", 'gcr.token_url is "https://sts.googleapis.com"', TOKEN_URL),
    ("gcr.token_url", "https://sts.googleapis.com/", 'gcr.token_url is "https://sts.googleapis.com/"', TOKEN_URL),
    ("gcr.iam_credentials_url", "https://a..example", 'gcr.iam_credentials_url is "https://a..example"', BASE_URL),
    (
        "gcr.universe_domain",
        "https://googleapis.com",
        'gcr.universe_domain is "https://googleapis.com"',
        "expected a domain",
    ),
    ("gcr.universe_domain", "", 'gcr.universe_domain is ""', "expected a domain such as googleapis.com"),
    ("gcr.universe_domain", "a" * 64 + ".com", 'gcr.universe_domain is "aaa', "expected a domain"),
    ("gcr.token_lifetime", "9m", 'gcr.token_lifetime is "9m"', f"{WHOLE}10m to 12h"),
    (
        "gcr.hosts",
        "registry.example.com",
        'gcr.hosts is "registry.example.com"',
        f"each {HOST.removeprefix('expected ')}",
    ),
    (
        "gcr.hosts",
        ["a.example", "gcr.io"],
        'gcr.hosts[2] is "gcr.io" (a registry\'s own name needs no configuration',
        HOST,
    ),
    ("gcr.hosts", ["*.example"], 'gcr.hosts[1] is "*.example" (', HOST),
]


@pytest.mark.parametrize(
    ("path", "value", "found", "expected"), VALUES, ids=[f"{row[0]}={row[1]!r:.30}" for row in VALUES]
)
def test_a_wrong_value_is_named_with_the_expected_form(path: str, value: Any, found: str, expected: str) -> None:
    """One change, one finding: where it is, what is there, what should be."""
    said = finding(BOTH, (path, value))
    assert said.startswith(found)
    assert expected in said
    assert "more)" not in said

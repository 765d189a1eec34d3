"""Which grants there can be, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from configurations import ABSENT, BOTH, ECR_HOST, EMAIL, GCR_IMAGE, IMAGE, KEY, LEAST, ROLE, accept, finding, grant

ROLE_FORM = "expected an IAM role such as arn:aws:iam::111122223333:role/pull-{namespace}"
CHOSEN = {"annotation": KEY, "allow": [ROLE]}
CLUSTER_ROLE = "arn:aws:iam::111122223333:role/pull-{cluster}"
CHINA_ROLE = "arn:aws-cn:iam::111122223333:role/x"
CHINA_IMAGE = "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/team-a/**"
GRANTS = [
    # keys
    (
        {"role": ROLE},
        ".role is not a known key",
        "one of name, service_accounts, images, node, identity, via, pull_through",
    ),
    ({"name": ""}, '.name is ""', "expected a name of 1 to 100 printable characters"),
    ({"name": "a\tb"}, '.name is "a\\tb"', "expected a name of 1 to 100 printable characters"),
    ({"name": "a" * 101}, '.name is "aaa', "expected a name of 1 to 100"),
    ({"images": ABSENT}, ".images is missing", "expected an array of at least one element, each HOST/PATH"),
    ({"identity": ABSENT}, ".identity is missing", "expected a role ARN, a service account e-mail, principal, node"),
    ({"node": "yes"}, '.node is "yes"', "expected true or false"),
    ({"node": 1}, ".node is the integer 1", "expected true or false"),
    # who
    (
        {"service_accounts": ABSENT},
        ".service_accounts is missing",
        "each NAMESPACE/NAME with * for any characters; or node = true",
    ),
    ({"service_accounts": ABSENT, "node": False}, ".service_accounts is missing", "or node = true"),
    ({"service_accounts": []}, ".service_accounts is an empty array", "each NAMESPACE/NAME"),
    ({"service_accounts": ["a/b", "a/b"]}, '.service_accounts[2] is "a/b" again', "something else than in [1]"),
    (
        {"service_accounts": ["web"]},
        '.service_accounts[1] is "web" (it is not NAMESPACE/NAME',
        "expected NAMESPACE/NAME",
    ),
    ({"service_accounts": ["a/**"]}, '.service_accounts[1] is "a/**" (', "expected NAMESPACE/NAME"),
    ({"service_accounts": [["a/b"]]}, ".service_accounts[1] is an array", "expected NAMESPACE/NAME"),
    ({"node": True}, ".service_accounts stands beside node = true", "expected one of the two"),
    (
        {"node": True, "service_accounts": ABSENT},
        f'.identity is "{ROLE}" for requests without a token',
        "expected node, anonymous or refuse",
    ),
    (
        {"node": True, "service_accounts": ABSENT, "identity": CHOSEN},
        ".identity is chosen by an annotation for requests without a token",
        "expected node, anonymous or refuse",
    ),
    # which images
    ({"images": [f"{ECR_HOST}/a:v1"]}, f'.images[1] is "{ECR_HOST}/a:v1" (', "expected HOST/PATH with * within"),
    ({"images": [ECR_HOST]}, f'.images[1] is "{ECR_HOST}" (it has no path after the host)', "expected HOST/PATH"),
    ({"images": ["**/a"]}, '.images[1] is "**/a" (it names no host)', "expected HOST/PATH"),
    ({"images": [f"{ECR_HOST}/a**"]}, '.images[1] is "111122223333.', "** for any depth, without tag"),
    (
        {"images": ["docker.io/library/*"]},
        '.images[1] is "docker.io/library/*", whose host is refused',
        "expected a host of ECR or Google's registries, or one that is an [[ecr.alias]] or in gcr.hosts",
    ),
    (
        {"images": [GCR_IMAGE]},
        f'.images[1] is "{GCR_IMAGE}"',
        f'expected an image of the cloud and partition of "{ROLE}"',
    ),
    (
        {"images": [IMAGE.replace("us-west-2.amazonaws.com", "cn-north-1.amazonaws.com.cn")]},
        '.images[1] is "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/team-a/**"',
        "expected an image of the cloud and partition of",
    ),
    ({"identity": EMAIL}, f'.images[1] is "{IMAGE}"', f'expected an image of the cloud and partition of "{EMAIL}"'),
    (
        {"identity": "principal"},
        f'.images[1] is "{IMAGE}"',
        'expected an image of the cloud and partition of "principal"',
    ),
    # as whom
    (
        {"identity": "Node"},
        '.identity is "Node" (',
        "expected a role ARN, a service account e-mail, principal, node, anonymous, refuse",
    ),
    ({"identity": "pull@example.com"}, '.identity is "pull@example.com" (', "expected a role ARN"),
    (
        {"identity": "arn:aws:iam::1:role/x"},
        '.identity is "arn:aws:iam::1:role/x" (its account is not 12 digits)',
        "a role ARN",
    ),
    ({"identity": "arn:aws:iam::{cluster}:role/x"}, '.identity is "arn:aws:iam::{cluster}:role/x" (', "a role ARN"),
    ({"identity": ROLE.replace("aws", "aws-moon")}, ".identity is", "(its partition is none of aws, "),
    ({"identity": f"{ROLE}-*"}, f'.identity is "{ROLE}-*" (an identity is no glob', "expected a role ARN"),
    (
        {"identity": f"{ROLE}-{{service_account}}"},
        ".identity is",
        "between {namespace} and {service_account} there must be",
    ),
    ({"identity": f"{ROLE}{{pod}}"}, ".identity is", "(placeholders are {namespace}, {cluster}, {service_account})"),
    ({"identity": "{namespace}" * 90_000}, ".identity is", "(it has more than 2048 characters), expected a role ARN"),
    ({"identity": ["node"]}, ".identity is an array", "or { annotation = ..., allow = [...] }"),
    (
        {"identity": {"annotation": KEY}},
        ".identity.allow is missing",
        "expected an array of at least one element, each a role ARN",
    ),
    ({"identity": {"allow": [ROLE]}}, ".identity.annotation is missing", "expected the key of an annotation such as"),
    (
        {"identity": CHOSEN | {"allow": []}},
        ".identity.allow is an empty array",
        "expected an array of at least one element",
    ),
    (
        {"identity": CHOSEN | {"allow": ["node"]}},
        '.identity.allow[1] is "node" (',
        "expected a role ARN, a service account e-mail",
    ),
    ({"identity": CHOSEN | {"allow": ["*"]}}, '.identity.allow[1] is "*" (', "expected a role ARN"),
    (
        {"identity": CHOSEN | {"allow": [ROLE.replace("111122223333", "*")]}},
        ".identity.allow[1] is",
        "expected a role ARN",
    ),
    (
        {"identity": CHOSEN | {"annotation": []}},
        ".identity.annotation is an empty array",
        "each the key of an annotation",
    ),
    (
        {"identity": CHOSEN | {"annotation": "a b"}},
        '.identity.annotation is "a b"',
        "expected the key of an annotation",
    ),
    (
        {"identity": CHOSEN | {"annotation": ["a", "a"]}},
        '.identity.annotation[2] is "a" again',
        "something else than in [1]",
    ),
    (
        {"identity": CHOSEN | {"annotation": "A.example/b"}},
        '.identity.annotation is "A.example/b"',
        "the key of an annotation",
    ),
    (
        {"identity": CHOSEN | {"annotation": "a/" + "b" * 64}},
        '.identity.annotation is "a/bbb',
        "the key of an annotation",
    ),
    ({"identity": CHOSEN | {"annotation": "a/b/c"}}, '.identity.annotation is "a/b/c"', "the key of an annotation"),
    ({"identity": CHOSEN | {"role": ROLE}}, ".identity.role is not a known key", "expected one of annotation, allow"),
    (
        {"identity": CHOSEN | {"allow": ["principal"]}},
        f'.images[1] is "{IMAGE}"',
        'expected an image of the cloud and partition of "principal"',
    ),
    # the second hop and pull-through
    ({"via": "reader"}, '.via is "reader" (', ROLE_FORM),
    (
        {"via": "arn:aws-cn:iam::111122223333:role/x"},
        '.via is "arn:aws-cn:',
        f'expected a role of the partition of "{ROLE}"',
    ),
    ({"via": ROLE, "identity": "principal"}, '.identity is "principal" beside via', ROLE_FORM),
    (
        {"via": ROLE, "identity": "node", "node": True, "service_accounts": ABSENT},
        f'.via is "{ROLE}"',
        "expected a role without {namespace} and {service_account}",
    ),
    (
        {"via": ROLE, "identity": "node", "images": [GCR_IMAGE]},
        f'.images[1] is "{GCR_IMAGE}"',
        f'expected an image of the cloud and partition of "{ROLE}"',
    ),
    (
        {"via": CHINA_ROLE, "identity": "node"},
        f'.images[1] is "{IMAGE}"',
        f'expected an image of the cloud and partition of "{CHINA_ROLE}"',
    ),
    ({"pull_through": True, "identity": "node"}, '.identity is "node" beside pull_through', ROLE_FORM),
    ({"pull_through": True, "identity": "anonymous"}, '.identity is "anonymous" beside pull_through', ROLE_FORM),
    (
        {"via": ROLE, "identity": CHOSEN | {"allow": [ROLE, EMAIL]}},
        f'.identity.allow[2] is "{EMAIL}" beside via',
        ROLE_FORM,
    ),
    ({"pull_through": "yes"}, '.pull_through is "yes"', "expected true or false"),
]


@pytest.mark.parametrize(("fields", "found", "expected"), GRANTS, ids=[f"{row[0]!r:.60}" for row in GRANTS])
def test_a_wrong_grant_is_named_with_the_expected_form(fields: dict[str, Any], found: str, expected: str) -> None:
    """Grants are numbered from 1, as `grant N` is."""
    said = finding(BOTH, ("grant", [BOTH["grant"][1], grant(**fields)]))
    assert said.startswith(f"grant[2]{found}")
    assert expected in said
    assert "more)" not in said


@pytest.mark.parametrize("grants", [[], {}, "x"])
def test_at_least_one_grant_is_required(grants: Any) -> None:
    """A configuration without grants would refuse everything."""
    assert "grant is " in finding(LEAST, ("grant", grants))
    assert finding(LEAST, ("grant", ABSENT)).startswith(
        "grant is missing, expected an array of at least one element, each a table [[grant]]"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"identity": "node"},
        {"identity": "anonymous"},
        {"identity": "refuse"},
        {"service_accounts": ABSENT, "node": True, "identity": "refuse"},
        {"images": [IMAGE, GCR_IMAGE], "identity": "anonymous"},
        {"images": [IMAGE, GCR_IMAGE], "identity": CHOSEN | {"allow": [ROLE, EMAIL]}},
        {"images": ["*.pkg.dev/**"]},
        {"images": ["public.ecr.aws/**"]},
        {"via": ROLE, "identity": CHOSEN},
        {"pull_through": False, "identity": "node"},
        {"via": ROLE, "pull_through": True, "identity": "node"},
        {"via": CLUSTER_ROLE, "identity": "node", "node": True, "service_accounts": ABSENT},
        {"via": CHINA_ROLE, "identity": "node", "images": [CHINA_IMAGE, "public.ecr.aws/**"]},
        {"identity": CHOSEN | {"allow": ["arn:aws:iam::111122223333:role/**/{namespace}/*"]}},
    ],
    ids=repr,
)
def test_what_a_grant_may_say(fields: dict[str, Any]) -> None:
    """The combinations that have a meaning are accepted."""
    assert len(accept(BOTH, ("grant", [grant(**fields)])).grants) == 1


def test_what_the_node_becomes_needs_its_section() -> None:
    """A node's identity needs no section, a role that it becomes does."""
    google = {name: value for name, value in BOTH.items() if name != "ecr"}
    node = grant(identity="node", images=["*.dkr.ecr.us-west-2.amazonaws.com/**"])
    assert len(accept(google, ("grant", [node])).grants) == 1
    said = finding(google, ("grant", [node | {"via": ROLE}]))
    assert said.startswith(f'grant[1].via is "{ROLE}" without [ecr]')

"""What must hold between the tables of a configuration, and how findings are told."""

from __future__ import annotations

import pytest

from configurations import ABSENT, BOTH, EMAIL, KEY, LEAST, ROLE, accept, changed, finding, grant

# --- between the tables


@pytest.mark.parametrize(
    "issuer",
    ["https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local", "kubernetes/serviceaccount"],
)
def test_a_shared_issuer_needs_keys(issuer: str) -> None:
    """A token of an issuer that every cluster has says nothing without a signature of this cluster's key."""
    issuers = ("node.issuers", ["https://oidc.example.test/c1", issuer])
    said = finding(LEAST, issuers)
    assert said.startswith("node.jwks is missing, expected an absolute path")
    assert said.endswith(f"of this cluster's JWKS, because every cluster has the issuer {issuer}")
    assert accept(LEAST, issuers, ("node.jwks", "/etc/jwks.json")).node.jwks == "/etc/jwks.json"


def test_one_cloud_at_least() -> None:
    """Neither [ecr] nor [gcr] is an error of its own."""
    refuse = grant(identity="refuse")
    said = finding(LEAST, ("ecr", ABSENT), ("grant", [refuse]))
    assert said == "ecr is missing, expected at least one of [ecr] and [gcr]"


def test_an_identity_needs_its_clouds_section() -> None:
    """A role needs [ecr], an e-mail and `principal` need [gcr]; the position is that of the identity."""
    gcr_only = changed(BOTH, ("ecr", ABSENT), ("grant.1", ABSENT))
    said = finding(gcr_only, ("grant.1.identity", ROLE), ("grant.1.images", ["*.amazonaws.com/**"]))
    assert said == f'grant[1].identity is "{ROLE}" without [ecr], expected the section [ecr] as well'
    wildcard = {"images": ["*.pkg.dev/**"]}
    for identity in (EMAIL, "principal"):
        said = finding(LEAST, ("grant", [grant(identity=identity, **wildcard)]))
        assert said == f'grant[1].identity is "{identity}" without [gcr], expected the section [gcr] as well'
    said = finding(LEAST, ("grant", [grant(identity={"annotation": KEY, "allow": [ROLE, EMAIL]})]))
    assert said == f'grant[1].identity.allow[2] is "{EMAIL}" without [gcr], expected the section [gcr] as well'


def test_the_sessions_bound_min_life() -> None:
    """What is never long enough to be handed out is refused at once."""
    said = finding(LEAST, ("approval.min_life", "1h"))
    assert said == "approval.min_life is 3600s, expected less than ecr.session_duration (3600s)"
    said = finding(BOTH, ("approval.min_life", "10m"), ("gcr.token_lifetime", "10m"))
    assert said == "approval.min_life is 600s, expected less than gcr.token_lifetime (600s)"


def test_a_host_has_one_meaning() -> None:
    """One name can't be both clouds'."""
    alias = {"host": "images.example.com", "account": "111122223333", "region": "us-west-2"}
    said = finding(BOTH, ("ecr.alias", [alias]), ("gcr.hosts", ["a.example", "images.example.com"]))
    assert said == 'gcr.hosts[2] is "images.example.com", an [[ecr.alias]] too, expected one of the two'


def test_configured_hosts_may_stand_in_grants() -> None:
    """An alias counts as ECR with its region's partition, a further host as one of Google's."""
    alias = {"host": "images.example.com", "account": "111122223333", "region": "cn-north-1"}
    images = ["images.example.com/a/**"]
    role = ROLE.replace("arn:aws:", "arn:aws-cn:")
    accept(BOTH, ("ecr.alias", [alias]), ("grant.1", grant(images=images, identity=role)))
    said = finding(BOTH, ("ecr.alias", [alias]), ("grant.1", grant(images=images)))
    assert said.startswith('grant[1].images[1] is "images.example.com/a/**", expected an image of the cloud')
    accept(BOTH, ("gcr.hosts", ["images.example.com"]), ("grant.1", grant(images=images, identity="principal")))
    said = finding(BOTH, ("gcr.hosts", ["images.example.com"]), ("grant.1", grant(images=images)))
    assert said.startswith('grant[1].images[1] is "images.example.com/a/**", expected an image of the cloud')


def test_names_of_grants_are_unique() -> None:
    """Also against the names that grants without one get."""
    said = finding(LEAST, ("grant", [grant(name="a"), grant(name="a")]))
    assert said == 'grant[2].name is "a" again, expected a name of its own'
    said = finding(LEAST, ("grant", [grant(name="grant 2"), grant()]))
    assert said == 'grant[2].name is "grant 2" again, expected a name of its own'
    assert [g.name for g in accept(LEAST, ("grant", [grant(), grant(name="x"), grant()])).grants] == [
        "grant 1",
        "x",
        "grant 3",
    ]


# --- how it is told


def test_the_first_of_several_is_told_with_their_number() -> None:
    """All findings are made in one run."""
    said = finding(LEAST, ("node.cluster", "A"), ("node.issuers", [1, "b c"]), ("grant.1.images", []), ("x", 1))
    assert said.startswith("x is not a known key, expected one of version, ")
    assert said.endswith(" (and 4 more)")
    said = finding(LEAST, ("node.cluster", "A"), ("node.x", 1))
    assert said.startswith("node.x is not a known key")
    assert said.endswith(" (and 1 more)")


def test_another_version_is_told_alone() -> None:
    """Findings about the keys of another version would mislead."""
    said = finding(LEAST, ("version", 2), ("node", ABSENT), ("everything", "else"))
    assert said == "version is the integer 2, expected 1, the version that this program reads"


def test_long_and_hostile_values_are_cut_and_escaped() -> None:
    """A value can't flood or forge the kubelet's log."""
    said = finding(LEAST, ("node.cluster", "\x1b[31m\npullpass: fine" + "x" * 10_000))
    assert said.startswith('node.cluster is "\\x1b[31m\\npullpass: finexxx')
    assert len(said) < 300
    said = finding(LEAST, ("k" * 10_000, 1))
    assert said.startswith('"kkk')
    assert len(said) < 300

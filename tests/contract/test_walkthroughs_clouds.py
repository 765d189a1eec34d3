"""What the set-up pages have made in the clouds is what they configure, and lets in whom they mean."""

from __future__ import annotations

import json
import re
import time
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from cloud.gcp.subject import Subjects
from cloud.gcp.world import Pool, pool_name, provider
from cloud.iam import Policy
from cloud.jwks import KeySets
from cloud.tokens import Issuer
from contract import pages
from contract.pages import ROOT
from contract.walkthroughs import AWS_PAGE, GOOGLE_PAGE, configuration, example, gcloud, mint
from pullpass import patterns, registry
from pullpass.config import schema

if TYPE_CHECKING:
    from cloud.gcp.world import Provider

# --- AWS


def pull_role() -> tuple[str, str]:
    """Account and name of the role that the configuration gives to team-a."""
    (grant,) = configuration(AWS_PAGE).grants
    role = registry.parse_role(patterns.render(grant.identity, {"namespace": "team-a"}))
    return role.account, role.path_and_name


def test_the_role_that_is_made_is_the_one_that_is_asked_for() -> None:
    """Name and account, in the commands, in the table and in the configuration."""
    account, name = pull_role()
    made = [
        pages.options(words[3:])[1]
        for block in pages.blocks(AWS_PAGE, "bash")
        for words in pages.commands(block.text)
        if words[:2] == ["aws", "iam"] and words[2] in {"create-role", "put-role-policy"}
    ]
    assert {given["--role-name"] for given in made} == {name, example(AWS_PAGE, "role")}
    assert account == example(AWS_PAGE, "AWS account and region of the registry")
    documents = [given.get("--assume-role-policy-document") or given["--policy-document"] for given in made]
    assert documents == ["file://config/aws/oidc-trust-policy.json", "file://config/aws/pull-permissions.json"]


def trusts() -> list[Any]:
    """The trust policies: the one in `config`, and those on the page."""
    found = [(ROOT / "config/aws/oidc-trust-policy.json").read_text(encoding="utf-8")]
    found += [block.text for block in pages.blocks(AWS_PAGE, "json") if "AssumeRoleWithWebIdentity" in block.text]
    assert len(found) == 2
    return found


@pytest.mark.parametrize("document", trusts(), ids=["config", "gke"])
@pytest.mark.parametrize(
    ("subject", "audience", "allowed"),
    [
        ("system:serviceaccount:team-a:web", "pull.ecr.prod-1", True),
        ("system:serviceaccount:team-b:web", "pull.ecr.prod-1", False),
        ("system:serviceaccount:team-a-2:web", "pull.ecr.prod-1", False),
        ("system:serviceaccount:team-a:web", "sts.amazonaws.com", False),
    ],
)
def test_trust_policies(document: str, subject: str, audience: str, allowed: bool) -> None:
    """Each lets in the service accounts of the namespace with the right audience, and no others."""
    policy = Policy.parse(document, kind="trust")
    (statement,) = policy.statements
    (federated,) = statement.principals["Federated"]
    account, issuer = re.findall(r"^arn:aws:iam::(\d+):oidc-provider/(.+)$", federated)[0]
    assert account == pull_role()[0]
    assert (
        f"https://{issuer}" in pages.text(AWS_PAGE).replace("PROJECT/locations/LOCATION/clusters/NAME", issuer)
        or issuer
    )
    context = {f"{issuer}:aud": [audience], f"{issuer}:sub": [subject]}
    says = policy.says("sts:AssumeRoleWithWebIdentity", "*", context)
    assert (says == "Allow") is allowed


def test_the_bucket_shows_two_objects_and_no_more() -> None:
    """What is published is what everybody may read: discovery and keys, where issuer and API server have them."""
    (document,) = [json.loads(block.text) for block in pages.blocks(AWS_PAGE, "json") if "s3:" in block.text]
    policy = Policy.parse(document, kind="resource")
    (statement,) = policy.statements
    assert (statement.actions, statement.principals) == (("s3:GetObject",), {"AWS": ["*"]})
    put = [
        pages.options(words[3:])[1]
        for block in pages.blocks(AWS_PAGE, "bash")
        for words in pages.commands(block.text)
        if words[:3] == ["aws", "s3api", "put-object"]
    ]
    published = {f"arn:aws:s3:::{given['--bucket']}/{given['--key']}" for given in put}
    assert published == set(document["Statement"][0]["Resource"])
    assert {given["--key"].removeprefix("c1/") for given in put} == {
        ".well-known/openid-configuration",
        "openid/v1/jwks",
    }


def test_the_trusted_audience_is_the_configured_one() -> None:
    """The OIDC provider is made, or extended, for the issuer and the audience of the configuration."""
    loaded = configuration(AWS_PAGE)
    assert loaded.ecr is not None
    calls = {
        words[2]: pages.options(words[3:])[1]
        for block in pages.blocks(AWS_PAGE, "bash")
        for words in pages.commands(block.text)
        if words[:2] == ["aws", "iam"]
    }
    made, extended = calls["create-open-id-connect-provider"], calls["add-client-id-to-open-id-connect-provider"]
    assert (made["--url"], made["--client-id-list"]) == (loaded.node.issuers[0], loaded.ecr.audience)
    arn = f"arn:aws:iam::{pull_role()[0]}:oidc-provider/{made['--url'].removeprefix('https://')}"
    assert (extended["--client-id"], extended["--open-id-connect-provider-arn"]) == (loaded.ecr.audience, arn)


# --- Google


def made_provider(issuer: Issuer) -> tuple[Pool, Provider]:
    """The pool and the provider that the page's command makes, as Google's STS would have them."""
    ((operands, given),) = gcloud("iam workload-identity-pools providers create-oidc")
    mapping = dict(part.split("=", 1) for part in given["--attribute-mapping"].split(","))
    made = provider(
        operands[0], given["--issuer-uri"], given["--allowed-audiences"].split(","), mapping,
        condition=given["--attribute-condition"], jwks=issuer.jwks(),
    )  # fmt: skip
    assert given["--project"] == example(GOOGLE_PAGE, "project, and its number")
    return Pool(pool_name(given["--workload-identity-pool"], "123456789012"), providers={made.name: made}), made


def test_the_provider_is_the_configured_one() -> None:
    """Number, pool, provider, issuer and audience in the commands are those of both configurations."""
    issuer = Issuer(example(GOOGLE_PAGE, "issuer of its tokens"))
    pool, made = made_provider(issuer)
    for block in pages.blocks(GOOGLE_PAGE, "toml"):
        loaded = schema.check(tomllib.loads(block.text), block.where)
        assert loaded.gcr is not None
        assert loaded.gcr.provider == f"//iam.googleapis.com/{pool.name}/providers/{made.name}"
        assert made.issuer == loaded.node.issuers[0]
        assert made.audiences == [loaded.gcr.audience]
    ((created, _),) = gcloud("iam workload-identity-pools create")
    ((updated, given),) = gcloud("iam workload-identity-pools providers update-oidc")
    assert (created, updated, given["--workload-identity-pool"]) == (["nodes"], ["prod-1"], "nodes")


def test_members_mean_the_workload_and_nobody_else() -> None:
    """By the page's mapping and condition, a token of team-b/web is every member of the page, one of team-c is none."""
    issuer = Issuer(example(GOOGLE_PAGE, "issuer of its tokens"))
    pool, made = made_provider(issuer)
    bindings = [given for _, given in gcloud("artifacts repositories add-iam-policy-binding")]
    bindings += [given for _, given in gcloud("iam service-accounts add-iam-policy-binding")]
    members = {given["--member"] for given in bindings if "principal" in given["--member"]}
    assert len(members) == 2
    subjects = Subjects(KeySets(lambda: pytest.fail("the keys are uploaded")), time.time)
    audience = made.audiences[0]
    workload, _ = subjects.become(mint(issuer, "team-b", "web", audience), pool, made)
    assert members <= workload.members
    stranger, _ = subjects.become(mint(issuer, "team-c", "web", audience), pool, made)
    assert members.isdisjoint(stranger.members)
    other, _ = subjects.become(mint(issuer, "team-b", "api", audience), pool, made)
    assert members & other.members == {member for member in members if member.startswith("principalSet:")}


def test_the_impersonated_account_is_the_configured_one() -> None:
    """It is made, reads the repository, may be become, and is what the second configuration gives."""
    ((names, given),) = gcloud("iam service-accounts create")
    email = f"{names[0]}@{given['--project']}.iam.gserviceaccount.com"
    direct, impersonating = (
        schema.check(tomllib.loads(block.text), block.where).grants[0] for block in pages.blocks(GOOGLE_PAGE, "toml")
    )
    assert (direct.identity, impersonating.identity) == ("principal", email)
    readers = [given["--member"] for _, given in gcloud("artifacts repositories add-iam-policy-binding")]
    assert readers.count(f"serviceAccount:{email}") == 1
    ((operands, _),) = gcloud("iam service-accounts add-iam-policy-binding")
    assert operands == [email]

"""Every file in `config/` is fed to the program or held against the rules of its reader, and all fit together."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pullpass import config, patterns, registry
from pullpass.config import schema
from pullpass.config.checks import REQUIRED, Check, duration_ns
from pullpass.config.grants import GRANT
from pullpass.errors import PullpassError
from pullpass.exchange.aws_session import PULL_ACTIONS
from pullpass.install import LAUNCHERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pullpass.config import Config

EXAMPLES = Path(__file__).parents[2] / "config"
CONFIGURATIONS = ("minimal.toml", "pullpass.toml")
TESTED = {
    *CONFIGURATIONS,
    "README.md",
    "aws/oidc-trust-policy.json",
    "aws/pull-permissions.json",
    "credential-provider-config.yaml",
    "rbac-audience.yaml",
}
ACCOUNT = "111122223333"


def load(name: str) -> Config:
    """An example configuration, whatever modes a clone gave the file."""
    return schema.check(tomllib.loads((EXAMPLES / name).read_text()), name)


def read_yaml(name: str) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all((EXAMPLES / name).read_text()))


def provider_entries() -> dict[str, dict[str, Any]]:
    """The kubelet's provider entries by name."""
    (document,) = read_yaml("credential-provider-config.yaml")
    return {entry["name"]: entry for entry in document["providers"]}


def test_every_example_is_tested_and_described() -> None:
    """A file that no test here knows, or that the README leaves out, is an error."""
    files = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*") if path.is_file()}
    assert files == TESTED
    linked = set(re.findall(r"\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text()))
    assert linked == files - {"README.md"}


# --- TOML


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configurations_load(name: str, tmp_path: Path) -> None:
    """The program takes both as they are, from a file of their own."""
    target = tmp_path / "config.toml"
    target.write_bytes((EXAMPLES / name).read_bytes())
    target.chmod(0o644)
    loaded = config.load(str(target))
    assert loaded.node.cluster == "prod-1"
    assert loaded == load(name)


def test_the_least_configuration_has_no_key_to_spare() -> None:
    """Taking any key out of the minimal configuration makes it invalid."""
    document = tomllib.loads((EXAMPLES / "minimal.toml").read_text())
    places: list[tuple[dict[str, Any], str]] = [(document, key) for key in document]
    places += [(table, key) for table in (document["node"], document["ecr"], *document["grant"]) for key in table]
    for table, key in places:
        taken = table.pop(key)
        with pytest.raises(PullpassError, match="config-invalid"):
            schema.check(document, "minimal.toml")
        table[key] = taken
    schema.check(document, "minimal.toml")


def keys(check: Check, at: str = "") -> Iterator[str]:
    """Every key path that the program knows."""
    for name, key in check.keys.items():
        yield f"{at}{name}"
        yield from keys(key.check, f"{at}{name}.")


def used(value: Any, at: str = "") -> Iterator[str]:
    """Every key path in a document, the positions in arrays left out."""
    for item in value if isinstance(value, list) else [value]:
        for name, inner in item.items() if isinstance(item, dict) else ():
            yield f"{at}{name}"
            yield from used(inner, f"{at}{name}.")


def test_the_whole_configuration_shows_every_key() -> None:
    """With what is commented out, the commented example has exactly the keys that the program knows, and loads."""
    text = (EXAMPLES / "pullpass.toml").read_text()
    whole = re.sub(r"^# (\w+ = .+)$", r"\1", text, flags=re.MULTILINE)
    assert whole != text
    document = tomllib.loads(whole)
    assert set(used(document)) == set(keys(schema.DOCUMENT))
    loaded = schema.check(document, "pullpass.toml")
    assert loaded.ecr is not None
    assert loaded.ecr.sts_endpoint == "https://vpce-0a1b2c.sts.us-west-2.vpce.amazonaws.com"
    assert loaded.grants[0].via == "arn:aws:iam::444455556666:role/registry-reader"
    assert loaded.gcr is not None
    assert loaded.gcr.hosts == ("registry.example.com",)


def test_the_whole_configuration_shows_the_defaults() -> None:
    """Leaving out what is said to be a default changes nothing."""
    document = tomllib.loads((EXAMPLES / "pullpass.toml").read_text())
    whole = schema.check(document, "pullpass.toml")
    for table in ("paths", "approval", "policy", "audit"):
        del document[table]
    del document["ecr"]["scope"], document["ecr"]["session_duration"], document["gcr"]["oauth_scope"]
    assert schema.check(document, "pullpass.toml") == whole


def test_commented_defaults_are_the_defaults() -> None:
    """A key that is commented out beside the word default stands for just that value."""
    text = (EXAMPLES / "pullpass.toml").read_text()
    for name, key in (
        ("deadline", schema.NODE.keys),
        ("aws_metadata", schema.NODE.keys),
        ("google_metadata", schema.NODE.keys),
        ("universe_domain", schema.GCR.keys),
        ("token_lifetime", schema.GCR.keys),
    ):
        (value,) = re.findall(rf"^# {name} = \"(.+)\"$", text, flags=re.MULTILINE)
        assert key[name].check.read(value) == key[name].default
    assert GRANT.keys["pull_through"].default is False
    assert schema.NODE.keys["cluster"].default is REQUIRED


# --- the kubelet's provider configuration


def check_provider(entry: dict[str, Any]) -> None:
    """What the kubelet (1.34 to 1.37) demands of a provider entry; strictly decoded, so no other keys."""
    assert set(entry) == {"name", "apiVersion", "matchImages", "defaultCacheDuration", "tokenAttributes"}
    assert not set("/ ") & set(entry["name"])
    assert entry["apiVersion"] == "credentialprovider.kubelet.k8s.io/v1"
    assert duration_ns(entry["defaultCacheDuration"]) == 0
    assert entry["matchImages"]
    for pattern in entry["matchImages"]:
        registry.host_matches(pattern, "example.com/a")  # raises for what the kubelet refuses at start
    token = entry["tokenAttributes"]
    assert set(token) == {
        "serviceAccountTokenAudience",
        "cacheType",
        "requireServiceAccount",
        "optionalServiceAccountAnnotationKeys",
    }
    assert token["cacheType"] == "ServiceAccount"
    assert type(token["requireServiceAccount"]) is bool
    annotations = token["optionalServiceAccountAnnotationKeys"]
    assert len({key.lower() for key in annotations}) == len(annotations)


def test_the_provider_configuration_is_the_kubelets() -> None:
    """Group, kind and every entry follow the kubelet's rules; the entries are the launchers."""
    (document,) = read_yaml("credential-provider-config.yaml")
    assert set(document) == {"apiVersion", "kind", "providers"}
    assert document["apiVersion"] == "kubelet.config.k8s.io/v1"
    assert document["kind"] == "CredentialProviderConfig"
    assert [entry["name"] for entry in document["providers"]] == list(LAUNCHERS)
    for entry in document["providers"]:
        check_provider(entry)


def ecr_hosts() -> Iterator[str]:
    """Every form of ECR host in every partition, made from the registry's own table."""
    for partition in registry.aws.PARTITIONS:
        region = f"{partition.prefixes[0]}-west-1"
        yield f"{ACCOUNT}.dkr.ecr.{region}.{partition.suffix}"
        yield f"{ACCOUNT}.vpce-0a1b2c-3d4e5f.dkr.ecr.{region}.vpce.{partition.suffix}"
        if partition.registry_dual_stack:
            yield f"{ACCOUNT}.dkr-ecr.{region}.{partition.registry_dual_stack}"
        for fips_region in partition.fips_regions:
            yield f"{ACCOUNT}.dkr.ecr-fips.{fips_region}.{partition.suffix}"
            yield f"{ACCOUNT}.dkr-ecr-fips.{fips_region}.{partition.registry_dual_stack}"


GCR_HOSTS = (
    "gcr.io",
    "eu.gcr.io",
    "europe-docker.pkg.dev",
    "us-central1-docker.pkg.dev",
    "docker.europe-west1.rep.pkg.dev",
)


def test_every_registry_host_is_matched_by_its_entry() -> None:
    """Each host that the program serves is asked for by the right entry and by no other."""
    hosts = dict.fromkeys([*ecr_hosts(), *registry.ECR_PUBLIC_HOSTS, "images.example.com"], "pullpass-ecr")
    hosts |= dict.fromkeys(GCR_HOSTS, "pullpass-gcr")
    loaded = load("pullpass.toml")
    assert loaded.ecr is not None
    matched: set[str] = set()
    for host, name in hosts.items():
        image = f"{host}/team-a/app"
        target = registry.match(image, loaded.ecr.aliases)
        assert (target.kind == registry.GCR) == (name == "pullpass-gcr")
        found = [
            (entry["name"], pattern)
            for entry in provider_entries().values()
            for pattern in entry["matchImages"]
            if registry.host_matches(pattern, image)
        ]
        assert [entry for entry, _ in found] == [name], image
        matched.update(pattern for _, pattern in found)
    patterns_listed = [pattern for entry in provider_entries().values() for pattern in entry["matchImages"]]
    assert sorted(matched) == sorted(patterns_listed), "a pattern that no host of ours needs"


@pytest.mark.parametrize(
    "host", ["registry.k8s.io", "docker.io", "evil.example.com", f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com.evil.com"]
)
def test_foreign_hosts_are_not_asked_for(host: str) -> None:
    """No pattern reaches beyond our registries."""
    for entry in provider_entries().values():
        assert not any(registry.host_matches(pattern, f"{host}/a/b") for pattern in entry["matchImages"])


# --- the files together


def test_audiences_are_the_same_everywhere() -> None:
    """Configuration, provider entries, RBAC and trust policy name the same audiences."""
    loaded, entries = load("pullpass.toml"), provider_entries()
    assert loaded.ecr is not None
    assert loaded.gcr is not None
    audiences = {
        "pullpass-ecr": loaded.ecr.audience,
        "pullpass-gcr": loaded.gcr.audience,
    }
    asked = {name: entry["tokenAttributes"]["serviceAccountTokenAudience"] for name, entry in entries.items()}
    assert asked == audiences
    minimal = load("minimal.toml")
    assert minimal.ecr is not None
    assert minimal.ecr.audience == loaded.ecr.audience
    assert minimal.node == loaded.node
    role, _ = read_yaml("rbac-audience.yaml")
    assert sorted(role["rules"][0]["resources"]) == sorted(audiences.values())


def test_annotation_keys_are_those_that_grants_read() -> None:
    """The kubelet hands over just the annotations that grants choose by, each to the entry that needs it."""
    loaded = load("pullpass.toml")
    for name, kind in (("pullpass-ecr", "arn:"), ("pullpass-gcr", "{namespace}-")):
        read = {key for grant in loaded.grants for key in grant.annotations if grant.allow[0].startswith(kind)}
        listed = provider_entries()[name]["tokenAttributes"]["optionalServiceAccountAnnotationKeys"]
        assert set(listed) == read


def test_static_pods_are_asked_for_where_a_grant_answers_them() -> None:
    """An entry does without a service account exactly if a grant with node = true is about images that it matches."""
    grants = [grant for grant in load("pullpass.toml").grants if grant.node]
    for entry in provider_entries().values():
        images = [image.replace("**", "a").replace("*", "a") for grant in grants for image in grant.images]
        answered = any(registry.host_matches(pattern, image) for pattern in entry["matchImages"] for image in images)
        assert entry["tokenAttributes"]["requireServiceAccount"] is not answered


def test_rbac_is_what_the_api_server_asks_for() -> None:
    """The nodes' group may request the audiences, by a role that holds nothing else."""
    role, binding = read_yaml("rbac-audience.yaml")
    assert role["apiVersion"] == binding["apiVersion"] == "rbac.authorization.k8s.io/v1"
    assert (role["kind"], binding["kind"]) == ("ClusterRole", "ClusterRoleBinding")
    (rule,) = role["rules"]
    assert set(rule) == {"apiGroups", "resources", "verbs"}
    assert rule["apiGroups"] == [""]
    assert rule["verbs"] == ["request-serviceaccounts-token-audience"]
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": role["metadata"]["name"],
    }
    assert binding["subjects"] == [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}]


# --- AWS


def test_the_trust_policy_lets_in_whom_the_grant_means() -> None:
    """Issuer, audience and subjects are those of the configuration's first grant."""
    loaded = load("pullpass.toml")
    assert loaded.ecr is not None
    issuer = loaded.node.issuers[0].removeprefix("https://")
    (statement,) = json.loads((EXAMPLES / "aws/oidc-trust-policy.json").read_text())["Statement"]
    assert statement["Effect"] == "Allow"
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"] == {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"}
    namespace, name = loaded.grants[0].service_accounts[0].split("/")
    assert statement["Condition"] == {
        "StringEquals": {f"{issuer}:aud": loaded.ecr.audience},
        "StringLike": {f"{issuer}:sub": f"system:serviceaccount:{namespace}:{name}"},
    }


def test_the_permissions_are_those_of_a_pull() -> None:
    """The role reads the grant's repositories and nothing else; the actions are those of the session policy."""
    grant = load("minimal.toml").grants[0]
    policy = json.loads((EXAMPLES / "aws/pull-permissions.json").read_text())
    assert policy["Version"] == "2012-10-17"
    login, pull = policy["Statement"]
    assert (login["Action"], login["Resource"]) == ("ecr:GetAuthorizationToken", "*")
    assert sorted(pull["Action"]) == sorted(PULL_ACTIONS)
    target = registry.match(grant.images[0].replace("**", "app"))
    assert pull["Resource"] == f"arn:{target.partition}:ecr:{target.region}:{target.account}:repository/team-a/*"
    assert {statement["Effect"] for statement in policy["Statement"]} == {"Allow"}
    role = registry.parse_role(patterns.render(grant.identity, {"namespace": "team-a"}))
    assert (role.account, role.path_and_name) == (ACCOUNT, "pull-team-a")
    assert "`pull-team-a`" in (EXAMPLES / "README.md").read_text()

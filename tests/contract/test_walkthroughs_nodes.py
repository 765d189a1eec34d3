"""The documents that go onto nodes and into the cluster: each is held against the rules of what reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from contract import pages
from contract.walkthroughs import AWS_PAGE, GOOGLE_PAGE, NODE_PAGE, configuration, every, example
from pullpass import patterns
from unit.test_examples import check_provider

if TYPE_CHECKING:
    from contract.pages import Block

SHARED_ISSUER = "https://kubernetes.default.svc.cluster.local"
KUBELET_FLAGS = {"image-credential-provider-bin-dir", "image-credential-provider-config"}


@pytest.mark.parametrize("block", every("yaml"))
def test_documents_are_their_readers(block: Block) -> None:
    """Each YAML document is held against the rules of what reads it."""
    document = yaml.safe_load(block.text)
    READERS[document["kind"]](document)


def check_cluster_configuration(document: dict[str, Any]) -> None:
    """Version v1beta4: the issuer of one's own first, then the default, and keys below the issuer."""
    assert document["apiVersion"] == "kubeadm.k8s.io/v1beta4"
    assert set(document) == {"apiVersion", "kind", "apiServer"}
    rows = document["apiServer"]["extraArgs"]
    assert all(set(row) == {"name", "value"} for row in rows)
    issuers = [row["value"] for row in rows if row["name"] == "service-account-issuer"]
    assert issuers == [*configuration(AWS_PAGE).node.issuers, SHARED_ISSUER]
    (keys,) = [row["value"] for row in rows if row["name"] == "service-account-jwks-uri"]
    assert keys == f"{issuers[0]}/openid/v1/jwks"
    assert len(rows) == 3


def check_join_configuration(document: dict[str, Any]) -> None:
    """Version v1beta4: the two flags, the same as in the file for a node that runs already, and as installed."""
    assert document["apiVersion"] == "kubeadm.k8s.io/v1beta4"
    rows = document["nodeRegistration"]["kubeletExtraArgs"]
    assert all(set(row) == {"name", "value"} for row in rows)
    flags = {row["name"]: row["value"] for row in rows}
    assert set(flags) == KUBELET_FLAGS
    (ini,) = pages.blocks(NODE_PAGE, "ini")
    assert ini.text == "KUBELET_EXTRA_ARGS=" + " ".join(f"--{name}={value}" for name, value in flags.items()) + "\n"
    scripts = "\n".join(block.text for block in pages.blocks(NODE_PAGE, "bash"))
    assert f"pullpass install --bin-dir {flags['image-credential-provider-bin-dir']}\n" in scripts
    assert f" {flags['image-credential-provider-config']}/pullpass.yaml\n" in scripts


def check_providers(document: dict[str, Any]) -> None:
    """The kubelet's rules for ours; another plugin's entry stays as it was."""
    assert set(document) == {"apiVersion", "kind", "providers"}
    assert document["apiVersion"] == "kubelet.config.k8s.io/v1"
    ours = [entry for entry in document["providers"] if entry["name"].startswith("pullpass-")]
    assert len(ours) == 1
    for entry in ours:
        check_provider(entry)
        kind = entry["name"].removeprefix("pullpass-")
        section = getattr(configuration({"ecr": AWS_PAGE, "gcr": GOOGLE_PAGE}[kind]), kind)
        assert entry["tokenAttributes"]["serviceAccountTokenAudience"] == section.audience
    for entry in document["providers"]:
        assert entry in ours or entry["name"] == "auth-provider-gcp"
    hosts = [pattern for entry in document["providers"] for pattern in entry["matchImages"]]
    assert len(hosts) == len(set(hosts))


def check_daemon_set(document: dict[str, Any]) -> None:
    """It copies what its image has and runs what it copied, on the nodes of the pool that is made for it."""
    assert document["apiVersion"] == "apps/v1"
    template = document["spec"]["template"]
    assert document["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    (installing,) = template["spec"]["initContainers"]
    (dockerfile,) = pages.blocks(NODE_PAGE, "dockerfile")
    instructions = [line.split() for line in dockerfile.text.splitlines()]
    assert [words[0] for words in instructions] == ["FROM", "COPY", "RUN", "COPY"]
    assert instructions[3][1:] == ["config.toml", "cri_auth_config.yaml", "install.sh", "/pullpass/"]
    (script,) = [block.text for block in pages.blocks(NODE_PAGE, "bash") if block.text.startswith("#!")]
    source = re.findall(r"^source=(\S+)$", script, re.MULTILINE)[0]
    command = installing["args"][0]
    assert f"cp -r /wheels /pullpass/. /host{source}/" in command
    assert command.endswith(f"bash {source}/install.sh")
    builds = [words for block in pages.blocks(NODE_PAGE, "bash") for words in pages.commands(block.text)]
    images = [words[-1] if words[1] == "push" else words[3] for words in builds if words[0] == "docker"]
    assert set(images) == {installing["image"]}
    assert installing["securityContext"] == {"privileged": True}
    mounted = {mount["name"] for mount in installing["volumeMounts"]}
    assert mounted == {volume["name"] for volume in template["spec"]["volumes"]}
    (pool,) = [words for words in builds if words[:4] == ["gcloud", "container", "node-pools", "create"]]
    assert template["spec"]["nodeSelector"] == {"cloud.google.com/gke-nodepool": pool[4]}


def check_pod(document: dict[str, Any]) -> None:
    """Its service account and image are those of the grant on AWS's page."""
    (grant,) = configuration(AWS_PAGE).grants
    account = f"{document['metadata']['namespace']}/{document['spec']['serviceAccountName']}"
    assert account == example(AWS_PAGE, "repository, service account").replace("app", "web")
    assert any(patterns.glob_matches(glob, account) for glob in grant.service_accounts)
    (container,) = document["spec"]["containers"]
    image = container["image"].rpartition(":")[0]
    assert any(patterns.glob_matches(glob, image) for glob in grant.images)


READERS = {
    "ClusterConfiguration": check_cluster_configuration,
    "CredentialProviderConfig": check_providers,
    "DaemonSet": check_daemon_set,
    "JoinConfiguration": check_join_configuration,
    "Pod": check_pod,
}


def test_the_user_data_of_eks() -> None:
    """Two parts; the directory that the kubelet is told is the one that the script fills, launchers where EKS's are."""
    (block,) = pages.blocks(NODE_PAGE, "mime")
    (whole, _), (script_type, script), (node_type, node) = pages.parts(block.text)
    assert (whole, script_type, node_type) == ("multipart/mixed", "text/x-shellscript", "application/node.eks.aws")
    document = yaml.safe_load(node)
    assert (document["apiVersion"], document["kind"]) == ("node.eks.aws/v1alpha1", "NodeConfig")
    (flag,) = document["spec"]["kubelet"]["flags"]
    directory = flag.removeprefix("--image-credential-provider-config=")
    assert f"install -d -m 0755 {directory}\n" in script
    assert f"ln -sf /etc/eks/image-credential-provider/config.json {directory}/10-eks.json\n" in script
    assert f" {directory}/20-pullpass.yaml\n" in script
    assert "pullpass install --bin-dir /etc/eks/image-credential-provider\n" in script

"""pullpass as an operator installs it, in front of the local cloud, asked by the kubelet's own code.

Nothing of the program is imported: `pullpass install` writes the launchers, the kubelet runs them.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from cloud import ACCOUNT, AUDIENCE, CLUSTER, REGION
from conformance.kubelet import Pod
from conformance.scripted import provider, token_attributes, write_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cloud import Cloud
    from conformance.kubelet import Account, Kubelet, Registered, Seen

HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
ANNOTATION = "eks.amazonaws.com/ecr-role-arn"
MATCH = ("*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr-fips.*.amazonaws.com", "*.dkr-ecr.*.on.aws", "images.example.com")

GRANTS = f"""\
[[grant]]
name = "team images"
service_accounts = ["team-a/*"]
images = ["{HOST}/team-a/**"]
identity = "arn:aws:iam::{ACCOUNT}:role/pull-{{namespace}}"

[[grant]]
name = "by annotation"
service_accounts = ["team-a/*", "team-b/*"]
images = ["{HOST}/shared/**"]
identity = {{ annotation = "{ANNOTATION}", allow = ["arn:aws:iam::{ACCOUNT}:role/pull-{{namespace}}"] }}

[[grant]]
name = "public"
service_accounts = ["*/*"]
images = ["{HOST}/public/**"]
identity = "anonymous"
"""


def grant(images: Sequence[str]) -> str:
    """A grant of these images to team-a, as pull-team-a."""
    return f"""\
[[grant]]
service_accounts = ["team-a/*"]
images = {json.dumps(list(images))}
identity = "arn:aws:iam::{ACCOUNT}:role/pull-team-a"
"""


def entry(name: str = "pullpass-ecr", match: Sequence[str] = MATCH, **changes: Any) -> dict[str, Any]:
    """The kubelet's provider entry for a launcher, with changes to its token attributes."""
    usual = {"serviceAccountTokenAudience": AUDIENCE, "optionalServiceAccountAnnotationKeys": [ANNOTATION]}
    return provider(name, match, tokenAttributes=token_attributes(**(usual | changes)))


class Installed:
    """A node: configuration, launchers and a kubelet that knows them."""

    def __init__(self, directory: Path, cloud: Cloud, new_kubelet: Callable[..., Kubelet]) -> None:
        """Name the places; nothing is written yet."""
        self.cloud = cloud
        self.directory = directory
        self.bin_dir = str(directory / "bin")
        self.new_kubelet = new_kubelet
        self._numbers = itertools.count()

    def install(self, grants: str = GRANTS, *, approval: str = "", ecr: str = "", node: str = "") -> None:
        """Write a configuration and install the launchers from it.

        Args:
            grants: its grants.
            approval: lines for [approval].
            ecr: more lines for [ecr].
            node: more lines for [node].
        """
        at = self.cloud.endpoints
        path = self.directory / "pullpass.toml"
        path.write_text(
            f'version = 1\n[node]\ncluster = "{CLUSTER}"\nissuers = ["{at.issuer}"]\n{node}\n'
            f'[paths]\nstate = "{self.directory}/state"\nruntime = "{self.directory}/run"\n'
            f"[approval]\n{approval}\n"
            f'[ecr]\naudience = "{AUDIENCE}"\nsts_endpoint = "{at.sts}"\necr_endpoint = "{at.ecr}"\n{ecr}\n{grants}',
            encoding="utf-8",
        )
        path.chmod(0o600)
        command = [sys.executable, "-m", "pullpass", "install", "--bin-dir", self.bin_dir, "--config", str(path)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def start(self, *entries: Mapping[str, Any], config: str | None = None) -> Registered:
        """Start a kubelet with these provider entries, or with a configuration file."""
        if config is None:
            config = write_config(os.path.join(self.directory, "providers.json"), entries or [entry()])
        self.kubelet = self.new_kubelet()
        registered = self.kubelet.register(config, self.bin_dir)
        assert registered.error == ""
        return registered

    def account(
        self,
        namespace: str = "team-a",
        name: str = "web",
        *,
        uid: str = "5f0c2f6a-4be4-4b8e-9a43-c5dd0b7a0001",
        annotations: Mapping[str, str] | None = None,
        **token: Any,
    ) -> Account:
        """An account with a fresh token of the cluster; `token` are arguments of `Cloud.mint_token`.

        Each token differs from the ones before, as those of different pods do.
        """
        claims = {"jti": f"token-{next(self._numbers)}", **token.pop("claims", {})}
        minted = self.cloud.mint_token(namespace, name, claims=claims, **token)
        return self.kubelet.service_account(namespace, name, uid=uid, annotations=annotations, token=minted)

    def look(self, repository: str, namespace: str = "team-a", name: str = "web") -> Seen:
        """One pod of an account pulls."""
        return self.kubelet.lookup(repository, Pod(namespace, name))

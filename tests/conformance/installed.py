"""pullpass as an operator installs it, in front of the local cloud, asked by the kubelet's own code.

Nothing of the program is imported: `pullpass install` writes the launchers, the kubelet runs them.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from typing import TYPE_CHECKING, Any

from cloud import ACCOUNT, AUDIENCE, REGION
from cloud.gcp.world import GOOGLE_AUDIENCE, PULL_ACCOUNT
from conformance.kubelet import Pod
from conformance.scripted import provider, token_attributes, write_config
from integration import launchers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cloud import Cloud
    from conformance.kubelet import Account, Kubelet, Registered, Seen

HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
GOOGLE_HOST = "europe-docker.pkg.dev"
ANNOTATION = "eks.amazonaws.com/ecr-role-arn"
GOOGLE_ANNOTATION = "iam.gke.io/gcp-service-account"
MATCH = ("*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr-fips.*.amazonaws.com", "*.dkr-ecr.*.on.aws", "images.example.com")
GOOGLE_MATCH = ("gcr.io", "*.gcr.io", "*-docker.pkg.dev", "docker.*.rep.pkg.dev", "registry.example.com")
ERROR = "Failed to provide credentials for image"
LINE = re.compile(r"exit status (\d): pullpass: ([a-z0-9-]+): [^\n]+\n")

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

[[grant]]
name = "Google, direct"
service_accounts = ["team-b/*"]
images = ["{GOOGLE_HOST}/proj/team-b/**"]
identity = "principal"

[[grant]]
name = "Google, by annotation"
service_accounts = ["team-b/*"]
images = ["gcr.io/proj/**"]
identity = {{ annotation = "{GOOGLE_ANNOTATION}", allow = ["{PULL_ACCOUNT}"] }}

[[grant]]
name = "static pods"
node = true
images = ["{HOST}/system/**", "{GOOGLE_HOST}/proj/system/**"]
identity = "node"

[[grant]]
name = "add-ons"
service_accounts = ["kube-system/*"]
images = ["{HOST}/system/**", "{GOOGLE_HOST}/proj/system/**"]
identity = "node"
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


def google_entry(match: Sequence[str] = GOOGLE_MATCH, **changes: Any) -> dict[str, Any]:
    """The same for Google's registries."""
    usual = {
        "serviceAccountTokenAudience": GOOGLE_AUDIENCE,
        "optionalServiceAccountAnnotationKeys": [GOOGLE_ANNOTATION],
    }
    return entry("pullpass-gcr", match, **(usual | changes))


class Installed:
    """A node: configuration, launchers and a kubelet that knows them."""

    def __init__(self, directory: Path, cloud: Cloud, new_kubelet: Callable[..., Kubelet]) -> None:
        """Name the places; nothing is written yet."""
        self.cloud = cloud
        self.directory = directory
        self.bin_dir = str(directory / "bin")
        self.new_kubelet = new_kubelet
        self._numbers = itertools.count()

    def install(
        self, grants: str = GRANTS, *, approval: str = "", ecr: str = "", gcr: str | None = "", node: str = ""
    ) -> None:
        """Write a configuration and install the launchers from it.

        Args:
            grants: its grants.
            approval: lines for [approval].
            ecr: more lines for [ecr].
            gcr: more lines for [gcr]; None for no such section.
            node: more lines for [node].
        """
        grants = f"[approval]\n{approval}\n{grants}"
        config = launchers.write_config(self.directory, self.cloud, node=node, ecr=ecr, gcr=gcr, grants=grants)
        assert str(launchers.install(self.directory, config).parent) == self.bin_dir

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
        """An account with fresh tokens of the cluster; `token` are arguments of `Cloud.mint_token`.

        Whatever audience a token is asked for, it has the one of `token`; without that, it is Google's where that is
        asked for, and else ECR's. Each token differs from the ones before, as those of different pods do.
        """
        audiences = [token.pop("audience")] if "audience" in token else [AUDIENCE, GOOGLE_AUDIENCE]
        claims = {"jti": f"token-{next(self._numbers)}", **token.pop("claims", {})}
        minted = {
            audience: self.cloud.mint_token(namespace, name, audience=audience, claims=claims, **token)
            for audience in audiences
        }
        return self.kubelet.service_account(
            namespace, name, uid=uid, annotations=annotations, token=minted[audiences[0]], tokens=minted
        )

    def look(self, repository: str, namespace: str = "team-a", name: str = "web") -> Seen:
        """One pod of an account pulls."""
        return self.kubelet.lookup(repository, Pod(namespace, name))

    def refusal(self, seen: Seen, status: int, code: str) -> str:
        """Check a refusal as the kubelet shows it, and return the error in its log.

        No credential, one error line, which ends in the launcher's one line; nothing is cached; no secret is shown.
        """
        assert seen.credentials == []
        assert len(seen.executions) == 1
        assert [line.message for line in seen.errors] == [ERROR]
        error = seen.errors[0].error
        found = LINE.search(error)
        assert found is not None, error
        assert error.endswith(found.group())
        assert (int(found[1]), found[2]) == (status, code)
        assert self.kubelet.cache_keys(seen.executions[0].provider) == []
        assert self.kubelet.metrics().errors == {seen.executions[0].provider: 1}
        secrets = [*self.cloud.world.passwords, *self.cloud.google.tokens]
        secrets += [part for part in seen.executions[0].token.split(".") if part]
        assert not [line for line in seen.logs if any(secret in line.text() for secret in secrets)]
        return error

"""The flows: every way in which a request becomes a credential, with the calls that it costs.

One configuration has the grants of all of them, but for what a whole section decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cloud import AUDIENCE, role_arn
from cloud.gcp.world import GOOGLE_AUDIENCE, PULL_ACCOUNT
from cloud.world import (
    FURTHER_ACCOUNT,
    NODE_ROLE,
    PUBLIC_STATEMENT,
    assume_document,
    pull_document,
    with_statements,
)
from factories import HOST, make_request

if TYPE_CHECKING:
    from cloud import Cloud

BY_TOKEN, BY_KEYS, ECR = "sts.AssumeRoleWithWebIdentity", "sts.AssumeRole", "ecr.GetAuthorizationToken"
ECR_PUBLIC = "ecr-public.GetAuthorizationToken"
IMDS = ("imds.token", "imds.role", "imds.credentials")
GOOGLE, ACCOUNT_TOKEN = "gsts.token", "iamcredentials.generateAccessToken"
FURTHER_HOST = HOST.replace("111122223333", FURTHER_ACCOUNT)
GOOGLE_HOST = "europe-docker.pkg.dev"
VIA = role_arn("pull-shared", FURTHER_ACCOUNT)

GRANTS = f"""
[[grant]]
name = "by token"
service_accounts = ["team-a/*"]
images = ["{HOST}/team-a/**"]
identity = "{role_arn("pull-{namespace}")}"
[[grant]]
name = "by a second hop"
service_accounts = ["team-a/*"]
images = ["{FURTHER_HOST}/shared/**"]
identity = "{role_arn("pull-{namespace}")}"
via = "{VIA}"
[[grant]]
name = "public"
service_accounts = ["team-a/*"]
images = ["public.ecr.aws/**"]
identity = "{role_arn("pull-public")}"
[[grant]]
name = "anonymous"
service_accounts = ["*/*"]
images = ["gcr.io/distroless/**"]
identity = "anonymous"
[[grant]]
name = "static pods"
node = true
images = ["{HOST}/system/**", "{GOOGLE_HOST}/proj/system/**", "public.ecr.aws/**"]
identity = "node"
[[grant]]
name = "static pods, by a second hop"
node = true
images = ["{FURTHER_HOST}/shared/**"]
identity = "node"
via = "{VIA}"
[[grant]]
name = "add-ons"
service_accounts = ["kube-system/*"]
images = ["{HOST}/system/**", "{GOOGLE_HOST}/proj/system/**"]
identity = "node"
[[grant]]
name = "Google, direct"
service_accounts = ["team-b/*"]
images = ["{GOOGLE_HOST}/proj/team-b/**"]
identity = "principal"
[[grant]]
name = "Google, impersonated"
service_accounts = ["team-b/web"]
images = ["gcr.io/proj/**"]
identity = "{PULL_ACCOUNT}"
"""


class Flow(NamedTuple):
    """One way to a credential.

    Attributes:
        name: a few words.
        image: that is asked for.
        namespace: of the pod, whose service account is `web`; "" without a token.
        calls: what it asks of the clouds, in order.
        ecr: lines for [ecr].
    """

    name: str
    image: str
    namespace: str
    calls: tuple[str, ...]
    ecr: str = ""

    @property
    def google(self) -> bool:
        """Whether it is about Google's registries."""
        return not self.image.startswith((HOST, FURTHER_HOST, "public.ecr.aws"))

    @property
    def launcher(self) -> str:
        """The launcher that the kubelet runs for it."""
        return "pullpass-gcr" if self.google else "pullpass-ecr"

    @property
    def as_node(self) -> bool:
        """Whether the identity is the node's."""
        return self.namespace in ("", "kube-system")

    def token(self, cloud: Cloud) -> str | None:
        """A token such as the kubelet has for it."""
        audience = GOOGLE_AUDIENCE if self.google else AUDIENCE
        return cloud.mint_token(self.namespace, "web", audience=audience) if self.namespace else None

    def request(self, token: str | None) -> bytes:
        """The kubelet's request."""
        return make_request(token, self.image)


FLOWS = (
    Flow("ECR", f"{HOST}/team-a/app", "team-a", (BY_TOKEN, ECR)),
    Flow("ECR, scope registry", f"{HOST}/team-a/app", "team-a", (BY_TOKEN, ECR), 'scope = "registry"'),
    Flow("ECR, via", f"{FURTHER_HOST}/shared/base", "team-a", (BY_TOKEN, BY_KEYS, ECR)),
    Flow("ECR Public", "public.ecr.aws/docker/library/busybox", "team-a", (BY_TOKEN, ECR_PUBLIC)),
    Flow("ECR, node", f"{HOST}/system/pause", "", (*IMDS, ECR)),
    Flow("ECR, node, via", f"{FURTHER_HOST}/shared/base", "", (*IMDS, BY_KEYS, ECR)),
    Flow("ECR, node for an add-on", f"{HOST}/system/pause", "kube-system", (*IMDS, ECR)),
    Flow("ECR Public, node", "public.ecr.aws/docker/library/busybox", "", (*IMDS, ECR_PUBLIC)),
    Flow("Google, direct", f"{GOOGLE_HOST}/proj/team-b/web", "team-b", (GOOGLE,)),
    Flow("Google, impersonated", "gcr.io/proj/app", "team-b", (GOOGLE, ACCOUNT_TOKEN)),
    Flow("Google, node", f"{GOOGLE_HOST}/proj/system/pause", "", ("gmetadata.email", "gmetadata.token")),
    Flow(
        "Google, node for an add-on",
        f"{GOOGLE_HOST}/proj/system/pause",
        "kube-system",
        ("gmetadata.email", "gmetadata.token"),
    ),
    Flow("anonymous", "gcr.io/distroless/static", "team-b", ()),
)
BY_NAME = {flow.name: flow for flow in FLOWS}


def let_node_hop(cloud: Cloud) -> None:
    """Let the node become the further account's role, as `ECR, node, via` needs it."""
    node = role_arn(NODE_ROLE)
    may = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": VIA}
    cloud.set_role(node, policy=with_statements(pull_document("system/"), PUBLIC_STATEMENT, may))
    trusted = [node, role_arn("pull-team-a"), role_arn("pull-team-b")]
    cloud.set_role(VIA, trust=assume_document({"AWS": trusted}))

"""The scenes, in order: first AWS, then Google, then who has no token or needs none, then what lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloud import ACCOUNT
from cloud.gcp.world import GOOGLE_AUDIENCE, LOCATION, PROJECT, PULL_ACCOUNT
from cloud.world import NODE_ROLE
from demo.lasting import SESSION_S, Audited, Revalidated, Rotated, Survived
from demo.scenes import Asker, Image, Issued, Leaked, Public, Refused, Scene
from demo.stage import GOOGLE_HOST, HOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloud import Cloud
    from cloud.images import Store


def ecr(name: str) -> Callable[[Cloud], Store]:
    """Where an image of the account is."""
    return lambda cloud: cloud.world.repository(name).store


def artifact(name: str, repository: str, project: str = PROJECT, location: str = LOCATION) -> Callable[[Cloud], Store]:
    """Where an image of a project is."""
    return lambda cloud: cloud.google.repository(project, location, repository).images[name]


APP = Image(f"{HOST}/team-a/app", ecr("team-a/app"), "registry", ":assumed-role/pull-team-a/prod-1_team-a_web")
OTHER = f"{HOST}/team-a/other"
SHARED = f"{HOST}/shared/base"
PAUSE = Image(f"{HOST}/system/pause", ecr("system/pause"), "registry", f":assumed-role/{NODE_ROLE}/i-0123456789abcdef0")
WEB = Image(
    f"{GOOGLE_HOST}/{PROJECT}/team-b/web",
    artifact("web", "team-b"),
    "artifact",
    "/subject/system:serviceaccount:team-b:web",
)
# gcr.io is Artifact Registry under its old name: a repository called gcr.io in the location us.
OLD = Image(
    f"gcr.io/{PROJECT}/app", artifact("app", "gcr.io", location="us"), "artifact", f"serviceAccount:{PULL_ACCOUNT}"
)
STATIC = Image("gcr.io/distroless/static", artifact("static", "gcr.io", "distroless", "us"), "artifact", "allUsers")
TEAM_B = Asker("team-b", GOOGLE_AUDIENCE, "pullpass-gcr")

SCENES: tuple[Scene, ...] = (
    Issued(
        "team-a pulls its own image",
        f"A pod of team-a/web needs {APP.name}. The kubelet runs pullpass-ecr: the pod's service-account token on"
        " stdin, no arguments, an empty environment, from /. The answer is then used to pull.",
        APP,
        ("sts.AssumeRoleWithWebIdentity", "ecr.GetAuthorizationToken"),
        explained=True,
    ),
    Leaked(
        "the same password elsewhere",
        f"The password of scene 1 is tried on {OTHER}. The role pull-team-a may read that repository too; the session"
        " behind the password is limited to the one that was asked for.",
        APP.name,
        OTHER,
    ),
    Refused(
        "a service account that no grant names",
        "A pod of guests/web asks for the image of team-a.",
        "no-grant",
        APP.name,
        Asker("guests"),
    ),
    Refused(
        "a registry that is not ours",
        "A pod of team-a/web asks for registry.example.net/team-a/app. No token goes to a host that nobody configured.",
        "registry-unknown",
        "registry.example.net/team-a/app",
    ),
    Refused(
        "an expired token",
        "A token that ended an hour ago asks for the image of team-a.",
        "token-expired",
        APP.name,
        Asker(issued_s=-7200),
    ),
    Refused(
        "a token for another audience",
        "A pod of team-a/web shows the token it has for the Kubernetes API instead of one for pulling from ECR.",
        "token-audience",
        APP.name,
        Asker(audience="https://kubernetes.default.svc"),
    ),
    Refused(
        "a role outside the allow-list",
        f"team-a/web asks for {SHARED}, and its annotation chooses the role of team-b. The second grant lets an"
        " annotation choose, among the roles of the pod's own namespace only.",
        "identity-not-allowed",
        SHARED,
        role=f"arn:aws:iam::{ACCOUNT}:role/pull-team-b",
    ),
    Issued(
        "team-b pulls from Google, as itself",
        f"A pod of team-b/web needs {WEB.name}. The kubelet runs pullpass-gcr, with a token for the workload identity"
        " pool. The image's readers are the service accounts of team-b themselves.",
        WEB,
        ("gsts.token",),
        TEAM_B,
        "oauth2accesstoken",
    ),
    Issued(
        "team-b pulls from Google, as an account",
        f"The same pod needs {OLD.name}, whose grant names a Google service account: the pod becomes itself first, and"
        " then the account, which it may impersonate.",
        OLD,
        ("gsts.token", "iamcredentials.generateAccessToken"),
        TEAM_B,
        "oauth2accesstoken",
    ),
    Refused(
        "a token for AWS, shown for Google",
        "The same pod asks for the image of scene 8 with its token for ECR. What is meant for one cloud never reaches"
        " the other.",
        "token-audience",
        WEB.name,
        Asker("team-b", launcher="pullpass-gcr"),
    ),
    Issued(
        "a static pod pulls as the node",
        f"A static pod needs {PAUSE.name}. It has no service account and so no token; a grant of its own gives it the"
        " node's role, from the instance metadata service.",
        PAUSE,
        ("imds.token", "imds.role", "imds.credentials", "ecr.GetAuthorizationToken"),
        Asker(""),
    ),
    Public(
        "a public image",
        f"A pod of team-b/web needs {STATIC.name}, which everybody may read. It gets an answer, so that the kubelet"
        " counts no error, and no credential.",
        STATIC,
        TEAM_B,
    ),
    Rotated(
        "a credential is renewed",
        f"From here on the configuration has short times, so that nobody waits for an hour. A pod needs {OTHER}; the"
        f" session behind the password lasts {SESSION_S} seconds. Once half of them are gone, the next start renews it,"
        " while the old one still lives.",
        OTHER,
    ),
    Revalidated(
        "a right is withdrawn, and forced through",
        f"The role's trust is withdrawn in the cloud. The password of {APP.name} was given before and lives for hours,"
        " so the next start is still answered from the cache. An order to revalidate ends that: the cloud is asked,"
        " and says no. The right is restored, and the next start is served. A block refuses without asking the cloud,"
        " until it is lifted.",
        APP.name,
    ),
    Survived(
        "an outage is survived",
        "The approval has grown too old, the cloud does not answer, and the pod restarts: it is served with the"
        " password that still lives, and the trail tells so. What nobody ever had is not made up.",
        OTHER,
        f"{HOST}/team-a/web",
    ),
    Audited(
        "the audit trail is edited",
        "Somebody makes a refusal look like a credential served. Every line holds the hash of the one before.",
    ),
)

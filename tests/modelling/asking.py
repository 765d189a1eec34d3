"""Who asks for what in the modelled world: its policy, its images, its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factories import HOST, make_config, make_ecr, make_gcr, make_grant
from modelling.cloud import Need
from pullpass.config import Audit, Paths
from support import AUDIENCE, make_claims, make_token

if TYPE_CHECKING:
    from pullpass.config import ApprovalTimes, Config

ACCOUNTS = ("team-a/web", "team-a/job", "team-b/web", "")
EMAIL = "pull@proj.iam.gserviceaccount.com"
APP, DB = f"{HOST}/team-a/app", f"{HOST}/team-a/db"
GOOGLE = ("europe-docker.pkg.dev/proj/r/one", "europe-docker.pkg.dev/proj/r/two", "gcr.io/proj/three")
AS_EMAIL = ("us-docker.pkg.dev/proj/i/four", "us-docker.pkg.dev/proj/i/five")
PUBLIC = "public.ecr.aws/docker/library/busybox"
SYSTEM, FREE, FORBIDDEN = f"{HOST}/system/pause", f"{HOST}/free/tool", f"{HOST}/team-z/app"
IMAGES = (APP, DB, *GOOGLE, *AS_EMAIL, PUBLIC, SYSTEM, FREE, FORBIDDEN)


class Settings(NamedTuple):
    """What of the configuration changes in the modelled world; durations in seconds."""

    cluster: str = "prod-1"
    role: str = "pull"
    scope: str = "repository"
    max_age_s: float = 3600.0
    recheck_s: float = 600.0
    margin_s: float = 120.0
    min_life_s: float = 30.0
    outage_s: float = 14400.0
    denied_for_s: float = 30.0


class Ask(NamedTuple):
    """One request.

    Attributes:
        account: of `ACCOUNTS`.
        image: of `IMAGES`.
        token: "" for an account without one.
    """

    account: str
    image: str
    token: str


def configuration(settings: Settings, state: str, runtime: str) -> Config:
    """The whole configuration; the trail is never pruned in it."""
    base = make_config()
    role = f"arn:aws:iam::111122223333:role/{settings.role}-{{namespace}}"
    grants = (
        make_grant(service_accounts=("*/*",), identity=role),
        make_grant(name="one", service_accounts=("*/*",), images=(f"{HOST}/free/**",), identity="anonymous"),
        make_grant(name="two", service_accounts=("*/*",), images=("public.ecr.aws/**",), identity=role),
        make_grant(
            name="three",
            service_accounts=("*/*",),
            images=("europe-docker.pkg.dev/proj/**", "gcr.io/proj/**"),
            identity="principal",
        ),
        make_grant(name="four", service_accounts=("*/*",), images=("us-docker.pkg.dev/proj/**",), identity=EMAIL),
        make_grant(name="five", service_accounts=(), node=True, images=(f"{HOST}/system/**",), identity="node"),
    )
    return base._replace(
        node=base.node._replace(cluster=settings.cluster),
        paths=Paths(state=state, runtime=runtime, kubelet="/nonexistent"),
        approval=_times(base.approval, settings),
        audit=Audit(keep_s=100 * 365 * 86400.0, when_full="refuse"),
        ecr=make_ecr(scope=settings.scope),
        gcr=make_gcr(),
        grants=grants,
    )


def _times(base: ApprovalTimes, settings: Settings) -> ApprovalTimes:
    return base._replace(
        max_age_s=settings.max_age_s,
        recheck_s=settings.recheck_s,
        margin_s=settings.margin_s,
        min_life_s=settings.min_life_s,
        outage_s=settings.outage_s,
        denied_for_s=settings.denied_for_s,
    )


def make_ask(account: str, image: str, now_s: float, life_s: float) -> Ask:
    """A request with a fresh token, for the audience of the image's registry."""
    if not account:
        return Ask(account, image, "")
    namespace, name = account.split("/")
    claims = make_claims(
        namespace=namespace,
        service_account=name,
        audience=AUDIENCE if "amazonaws" in image or image == PUBLIC else make_gcr().audience,
        now_s=now_s,
        life_s=life_s,
    )
    return Ask(account, image, make_token(claims))


def need_of(ask: Ask, settings: Settings) -> Need | str:
    """What a request needs, or how it is answered without any: `anonymous`, or the code of a refusal."""
    role = f"arn:aws:iam::111122223333:role/{settings.role}-{ask.account.split('/')[0]}"
    opens = "ecr:aws:111122223333:us-west-2"
    if ask.image == FORBIDDEN or (ask.image == SYSTEM) != (not ask.account):
        return "no-grant"
    if ask.image == SYSTEM:
        return Need(settings.cluster, "", "node", opens)
    if ask.image == FREE:
        return "anonymous"
    if ask.image == PUBLIC:
        return Need(settings.cluster, ask.account, role, "ecr-public")
    if ask.image in (APP, DB):
        repository = ask.image.removeprefix(f"{HOST}/")
        return Need(
            settings.cluster, ask.account, role, f"{opens}:{repository}" if settings.scope == "repository" else opens
        )
    return Need(settings.cluster, ask.account, EMAIL if ask.image in AS_EMAIL else "principal", "gcr")


def identity_of(ask: Ask, settings: Settings) -> str:
    """What the workload becomes, as orders select it; "" where policy refuses."""
    need = need_of(ask, settings)
    if isinstance(need, Need):
        return need.identity
    return "anonymous" if need == "anonymous" else ""

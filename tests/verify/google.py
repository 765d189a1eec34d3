"""What is claimed of Google, and how each claim is tried.

Pulls are tried as the workload itself (`principal`) and, where a service account is named, as that: what is claimed of
scopes and hosts is claimed of both. An identity that may not read the images is left out, and said to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pullpass import policy
from verify.obtaining import TOLERANCE_S, duration, wait_until
from verify.points import CONFIRMED, REFUTED, Claim, Finding, Notes, Outcome, Unsettled, settle
from verify.pulling import Seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pullpass.config import Config
    from verify.inputs import Case, Image
    from verify.obtaining import Obtained, Obtainer, World
    from verify.pulling import Registry

CAP_S = 3600
EARLY_S = 20.0  # how long before the access token's end the registry token is got
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
READ_ONLY = f"{SCOPE}.read-only"
STORAGE = "https://www.googleapis.com/auth/devstorage.read_only"

LIFE = Claim("federated-life", "A federated token ends when the token that it was made of does, at the latest.")
READ_ONLY_PULLS = Claim("read-only-scope", "The OAuth scope cloud-platform.read-only is enough for a pull.")
STORAGE_PULLS = Claim("storage-scope", "The OAuth scope devstorage.read_only is enough for a pull.")
HOSTS = Claim("one-token-all-hosts", "One access token opens repositories of all of Google's registry hosts.")
IMPERSONATED = Claim(
    "impersonated-life",
    "An impersonated token lives as long as was asked for, however soon the token that it began with ends.",
)
CARRIED = Claim(
    "registry-token-outlives",
    "A pull that began before the access token's end goes on after it: the registry's own token outlives it.",
)
CLAIMS = (LIFE, READ_ONLY_PULLS, STORAGE_PULLS, HOSTS, IMPERSONATED, CARRIED)
NOT_TRIED = (
    "what Google answers when it throttles, and the project's quota: that would have to be provoked",
    "whether very long attribute values make Artifact Registry answer 400: that needs a mapping of its own",
    "what audience GKE's own image-pull feature configures: that is seen on a GKE node",
)


class Google:
    """Tries the claims one after the other."""

    def __init__(self, case: Case, world: World, obtainer: Obtainer, registries: Registry) -> None:
        """Prepare; nothing is asked yet."""
        self._case = case
        self._world = world
        self._obtainer = obtainer
        self._registries = registries
        self._identities = [policy.PRINCIPAL, *filter(None, [case.service_account])]
        self._able: dict[str, Obtained] | None = None

    def findings(self) -> Iterator[Finding]:
        """Try each claim; the one that may wait comes last."""
        yield settle(LIFE, self._life)
        yield settle(READ_ONLY_PULLS, lambda notes: self._scope(READ_ONLY, notes))
        yield settle(STORAGE_PULLS, lambda notes: self._scope(STORAGE, notes))
        yield settle(HOSTS, self._hosts)
        yield settle(IMPERSONATED, self._impersonated)
        yield settle(CARRIED, self._carried)

    def _ask(self, identity: str, scope: str, notes: Notes) -> Obtained:
        notes.did(f"exchanged the token for an access token as {identity}, scope {scope.rpartition('/')[2]}")
        name = f"the token of {identity}, scope {scope.rpartition('/')[2]}"
        return self._obtainer.credential(name, self._case.first, _with(self._case.config, identity, scope))

    def _manifest(self, name: str, image: Image, obtained: Obtained | None, notes: Notes) -> Seen:
        by = obtained.name if obtained else "no token"
        notes.did(f"asked for the manifest of image {name} with {by}")
        seen = self._registries.manifest(image, obtained.credential if obtained else None)
        notes.saw(f"image {name} with {by}: {seen}")
        return seen

    def _readers(self, notes: Notes) -> dict[str, Obtained]:
        """The identities that can pull image A with the widest scope, with their tokens.

        Raises:
            Unsettled: there is none, or anybody can.
        """
        if self._able is None:
            able = {}
            for name, image in (("A", self._case.first), ("B", self._case.second)):
                if self._manifest(name, image, None, notes).opened:
                    raise Unsettled(
                        f"Image {name} is public, so that a pull proves nothing. Name a private one.", "public"
                    )
            for identity in self._identities:
                obtained = self._ask(identity, SCOPE, notes)
                if self._manifest("A", self._case.first, obtained, notes).opened:
                    able[identity] = obtained
            self._able = able
        if not self._able:
            raise Unsettled(
                "None of the identities may read image A, even with the widest scope, or there is no such tag. Give one"
                " the role roles/artifactregistry.reader on its repository.",
                "image A is refused",
            )
        return self._able

    def _life(self, notes: Notes) -> Outcome:
        obtained = self._ask(policy.PRINCIPAL, SCOPE, notes)
        rest_s = self._case.subject.expires_s - obtained.asked_s
        notes.saw(f"the token had {duration(rest_s)} left, the access token has {duration(obtained.life_s)}")
        brief = f"subject token {duration(rest_s)}, access token {duration(obtained.life_s)}"
        if obtained.life_s > rest_s + TOLERANCE_S:
            return Outcome(
                REFUTED,
                "A federated token outlives the pod's. pullpass goes by the earlier end, so that it asks more often"
                " than it would have to; a leaked access token lives longer than the documents say.",
                brief,
            )
        if rest_s >= CAP_S:
            raise Unsettled(
                "The token lives for longer than any access token does. Come with one of"
                " `kubectl create token --duration 20m`.",
                brief,
            )
        shorter = rest_s - obtained.life_s > TOLERANCE_S
        return Outcome(
            CONFIRMED,
            "Access tokens are as short as the rest of the pod's token: the kubelet's have 12 minutes to an hour left."
            + (" This one was shorter still, for another reason." if shorter else ""),
            brief,
        )

    def _scope(self, scope: str, notes: Notes) -> Outcome:
        seen = {}
        for identity in self._readers(notes):
            obtained = self._ask(identity, scope, notes)
            seen[identity] = self._manifest("A", self._case.first, obtained, notes)
        short = scope.rpartition("/")[2]
        brief = ", ".join(f"{_kind(identity)} {found.brief}" for identity, found in seen.items())
        if all(found.opened for found in seen.values()):
            return Outcome(
                CONFIRMED,
                f'[gcr] oauth_scope = "{scope}" is enough to pull, and makes less of a leaked token.',
                brief,
            )
        if all(found.opened or found.refused for found in seen.values()):
            return Outcome(REFUTED, f"{short} is not enough: leave oauth_scope at its default.", brief)
        raise Unsettled("The registry answered neither yes nor no.", brief)

    def _hosts(self, notes: Notes) -> Outcome:
        seen = {
            identity: self._manifest("B", self._case.second, obtained, notes)
            for identity, obtained in self._readers(notes).items()
        }
        brief = ", ".join(f"{_kind(identity)} {found.brief}" for identity, found in seen.items())
        if any(found.status == 401 for found in seen.values()):
            return Outcome(
                REFUTED,
                "The host of image B does not take a token that the host of image A takes. pullpass asks for one token"
                " for all hosts: report this.",
                brief,
            )
        if not any(found.opened for found in seen.values()):
            raise Unsettled("Image B is refused to all identities: name one that they may read.", brief)
        if self._case.first.target.host == self._case.second.target.host:
            raise Unsettled(
                "One token opened both repositories, but both are of one host. Name an image of another host, such as"
                " gcr.io beside *-docker.pkg.dev.",
                f"{brief}, one host",
            )
        return Outcome(CONFIRMED, "One exchange serves a workload's images on all hosts.", brief)

    def _impersonated(self, notes: Notes) -> Outcome:
        email = self._case.service_account
        if not email:
            raise Unsettled(
                "Name a service account that the workload may impersonate, by --service-account.", "none named"
            )
        assert self._case.config.gcr is not None  # `inputs` has looked
        wanted_s = self._case.config.gcr.token_lifetime_s
        obtained = self._ask(email, SCOPE, notes)
        rest_s = self._case.subject.expires_s - obtained.asked_s
        notes.saw(
            f"the token had {duration(rest_s)} left, {duration(wanted_s)} were asked for, the access token has"
            f" {duration(obtained.life_s)}"
        )
        brief = f"subject token {duration(rest_s)}, asked for {duration(wanted_s)}, got {duration(obtained.life_s)}"
        if obtained.life_s < wanted_s - TOLERANCE_S:
            return Outcome(
                REFUTED,
                "Impersonated tokens are shorter than was asked for. pullpass goes by what Google states, so that it"
                " asks more often; raising token_lifetime has no effect.",
                brief,
            )
        if rest_s >= wanted_s:
            raise Unsettled(
                "The token lives as long as the access token would anyway. Come with one of"
                " `kubectl create token --duration 20m`.",
                brief,
            )
        return Outcome(CONFIRMED, "token_lifetime decides how often Google is asked.", brief)

    def _carried(self, notes: Notes) -> Outcome:
        obtained = next(iter(self._readers(notes).values()))
        ends_s = obtained.credential.registry_expires_s
        if not self._case.wait:
            left = duration(max(0.0, ends_s - self._world.clock.now_s()))
            raise Unsettled(
                f"Add --wait to the same command: it then waits until the access token has ended ({left} from now).",
                "not waited for",
            )
        wait_until(ends_s - EARLY_S, "the access token to be near its end", self._world)
        notes.did(f"logged in at the registry {EARLY_S:g}s before the access token's end, and waited for that")
        entered = self._registries.enter(self._case.first, obtained.credential)
        if isinstance(entered, Seen):
            raise Unsettled("The registry gave no token shortly before the end.", f"before the end: {entered.brief}")
        wait_until(ends_s + TOLERANCE_S, "the access token to end", self._world)
        after = self._registries.get(self._case.first, entered)
        notes.saw(f"image A with the registry's token, after the end: {after}")
        control = self._manifest("A", self._case.first, obtained, notes)
        brief = f"after the end: registry token {after.brief}, access token {control.brief}"
        if control.opened:
            raise Unsettled("The access token itself went on opening the image after its stated end.", brief)
        if after.opened:
            return Outcome(CONFIRMED, "A long pull is not cut off. [approval] margin can be short.", brief)
        return Outcome(
            REFUTED,
            "A pull that takes longer than the rest of the token is cut off, and begins anew with another one:"
            " [approval] margin should be as long as pulls take.",
            brief,
        )


def _kind(identity: str) -> str:
    """What an identity is called where no names are."""
    return "direct" if identity == policy.PRINCIPAL else "impersonated"


def _with(config: Config, identity: str, scope: str) -> Config:
    """The configuration with another identity and scope."""
    assert config.gcr is not None  # `inputs` has looked
    grants = tuple(grant._replace(identity=identity) for grant in config.grants)
    return config._replace(gcr=config.gcr._replace(oauth_scope=scope), grants=grants)

"""What is claimed of AWS, and how each claim is tried.

Three passwords are enough: one of a session that is limited to the repository of image A, one of a session that is
limited by the role alone, and, after a wait, a fresh one of the first kind. Sessions are as short as STS makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pullpass import registry
from verify.obtaining import TOLERANCE_S, duration, wait_until
from verify.points import CONFIRMED, REFUTED, Claim, Finding, Notes, Outcome, Unsettled, settle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pullpass.config import Config
    from verify.inputs import Case, Image
    from verify.obtaining import Obtained, Obtainer, World
    from verify.pulling import Registry, Seen

SESSION_S = 900  # STS API reference: the shortest
STATED_S = 12 * 3600
FIPS_REGION = "us-east-1"  # asked for where the images' region has no FIPS endpoint
REPOSITORY = "repository"
REGISTRY = "registry"

SCOPED = Claim(
    "repository-scope",
    "A password from a session whose policy names one repository opens that repository and no other.",
)
STATED = Claim("stated-expiry", "ECR states an end of twelve hours for a password, whatever its session has left.")
FIPS = Claim(
    "fips-names", "The ECR API answers under the FIPS names that the SDKs form and pullpass uses, api.ecr-fips.REGION."
)
OUTLIVES = Claim(
    "password-outlives-session",
    "A password goes on opening its repository, and only that one, after its session has ended.",
)
CLAIMS = (SCOPED, STATED, FIPS, OUTLIVES)
NOT_TRIED = (
    "what STS and ECR answer when they throttle, and the account's quota: that would have to be provoked",
    "whether pull-through-cache repositories take a limited session: a first pull there writes to the account",
    "passwords from AWS Sign-In (signin:CreateBearerToken): pullpass does not use them",
)


class Aws:
    """Tries the claims one after the other."""

    def __init__(self, case: Case, world: World, obtainer: Obtainer, registries: Registry) -> None:
        """Prepare; nothing is asked yet."""
        self._case = case
        self._world = world
        self._obtainer = obtainer
        self._registries = registries
        self._limited: Obtained | None = None

    def findings(self) -> Iterator[Finding]:
        """Try each claim; the one that may wait comes last."""
        yield settle(SCOPED, self._scoped)
        yield settle(STATED, self._stated)
        yield settle(FIPS, self._fips)
        yield settle(OUTLIVES, self._outlives)

    def _ask(self, scope: str, notes: Notes) -> Obtained:
        limit = (
            f"limited to {self._case.first.target.repository}"
            if scope == REPOSITORY
            else "with all of the role's rights"
        )
        notes.did(f"asked STS for a session of {duration(SESSION_S)} {limit}, and ECR for a password with it")
        name = "the limited password" if scope == REPOSITORY else "the wide password"
        return self._obtainer.credential(name, self._case.first, _with(self._case.config, scope))

    def _first_limited(self, notes: Notes) -> Obtained:
        if self._limited is None:
            self._limited = self._ask(REPOSITORY, notes)
        return self._limited

    def _manifest(self, name: str, image: Image, obtained: Obtained, notes: Notes) -> Seen:
        notes.did(f"asked for the manifest of image {name} with {obtained.name}")
        seen = self._registries.manifest(image, obtained.credential)
        notes.saw(f"image {name} with {obtained.name}: {seen}")
        return seen

    def _scoped(self, notes: Notes) -> Outcome:
        limited = self._first_limited(notes)
        own = self._manifest("A", self._case.first, limited, notes)
        other = self._manifest("B", self._case.second, limited, notes)
        wide = self._ask(REGISTRY, notes)
        control = self._manifest("B", self._case.second, wide, notes)
        brief = f"limited: A {own.brief}, B {other.brief}; with the role's rights: B {control.brief}"
        if own.opened and other.opened:
            return Outcome(
                REFUTED,
                "The session policy does not limit the password: a leaked one opens all that the role may read. Give"
                " each team a role of its own, with no more than its repositories, and report this.",
                brief,
            )
        if not control.opened:
            raise Unsettled(
                "The role can't read image B even without the limit, or there is no such tag, so that its refusal"
                " proves nothing. Name an image that the role may read.",
                brief,
            )
        if not own.opened:
            again = self._manifest("A", self._case.first, wide, notes)
            if not again.opened:
                raise Unsettled("The role can't read image A at all, or there is no such tag. Name another.", brief)
            return Outcome(
                REFUTED,
                "The limited password does not open its own repository. One of a pull-through cache needs"
                ' pull_through = true in its grant; for any other set ecr.scope = "registry" until this is understood,'
                " and report this.",
                f"{brief}, A {again.brief}",
            )
        return Outcome(
            CONFIRMED,
            "A leaked password opens one repository. The role's own policies stay the boundary: whoever has the token"
            " can ask for a session without the limit.",
            brief,
        )

    def _stated(self, notes: Notes) -> Outcome:
        limited = self._first_limited(notes)
        session_s = limited.credential.session_expires_s - limited.asked_s
        notes.did("compared the ends that STS and ECR stated")
        notes.saw(f"the session ends after {duration(session_s)}, the password after {duration(limited.life_s)}")
        brief = f"stated {duration(limited.life_s)}, session {duration(session_s)}"
        if abs(limited.life_s - STATED_S) <= TOLERANCE_S:
            return Outcome(
                CONFIRMED,
                "The stated end says nothing about the session. pullpass goes by the earlier of the two.",
                brief,
            )
        return Outcome(
            REFUTED,
            "pullpass goes by the earlier of the stated end and the session's, so that nothing breaks; its documents"
            " name twelve hours. Please report what was stated.",
            brief,
        )

    def _fips(self, notes: Notes) -> Outcome:
        region = self._case.first.target.region
        try:
            url = registry.endpoint("ecr", region, fips=True, dual_stack=False)
        except ValueError:
            region = FIPS_REGION
            url = registry.endpoint("ecr", region, fips=True, dual_stack=False)
        ours = url.removeprefix("https://")
        listed = ours.removeprefix("api.")
        present = {}
        for host in (ours, listed):
            notes.did(f"looked up {host} and asked it for / over TLS, without credentials")
            present[host] = self._world.probe(host)
            notes.saw(f"{host}: {present[host].detail}")
        yes = {host: "answers" if found.answers else "does not" for host, found in present.items()}
        brief = f"{region}: api.ecr-fips {yes[ours]}, ecr-fips {yes[listed]}"
        if present[ours].answers:
            return Outcome(CONFIRMED, "Images with a FIPS host are pulled without further configuration.", brief)
        if present[ours].absent and present[listed].answers:
            return Outcome(
                REFUTED,
                f'For images with a FIPS host set ecr_endpoint = "https://{listed}" in [ecr], and report this.',
                brief,
            )
        raise Unsettled("Neither answer nor certain absence: try from a machine that reaches AWS.", brief)

    def _outlives(self, notes: Notes) -> Outcome:
        limited = self._first_limited(notes)
        ends_s = limited.credential.session_expires_s
        if not self._case.wait:
            left = duration(max(0.0, ends_s - self._world.clock.now_s()))
            raise Unsettled(
                f"Add --wait to the same command: it then waits until the session has ended ({left} from now) and"
                " shows the password again.",
                "not waited for",
            )
        before = self._manifest("A", self._case.first, limited, notes)
        if not before.opened:
            raise Unsettled("The password did not open image A while its session lived.", f"A {before.brief} before")
        if self._case.subject.expires_s < ends_s + 2 * TOLERANCE_S:
            self._world.tell("the token ends before the session does: a refusal then can't be told from another reason")
        notes.did("waited until the session had ended")
        wait_until(ends_s + TOLERANCE_S, "the session to end", self._world)
        after = self._manifest("A", self._case.first, limited, notes)
        if not after.opened:
            return self._died(after, notes)
        other = self._manifest("B", self._case.second, limited, notes)
        brief = f"after the session's end: A {after.brief}, B {other.brief}"
        if other.opened:
            return Outcome(
                REFUTED,
                "The password outlives its session, and the limit to one repository does not: a leaked one opens all"
                " that the role may read. Do not count on the limit, and report this.",
                brief,
            )
        return Outcome(
            CONFIRMED,
            "A leaked password stays good for its stated twelve hours, for one repository. A short session_duration"
            " does not shorten that.",
            brief,
        )

    def _died(self, after: Seen, notes: Notes) -> Outcome:
        """What a refusal after the session's end means: something, if a fresh password is not refused."""
        brief = f"after the session's end: A {after.brief}"
        means = "Whether the session's end is the reason is not known: run this again with a token of an hour."
        if self._case.subject.expires_s <= self._world.clock.now_s():
            raise Unsettled(means, brief)
        fresh = self._ask(REPOSITORY, notes)
        control = self._manifest("A", self._case.first, fresh, notes)
        brief += f"; with a fresh password: A {control.brief}"
        if not control.opened:
            raise Unsettled(means, brief)
        return Outcome(
            REFUTED,
            "The password dies with its session: session_duration bounds a leaked one, and should be longer than a"
            " pull takes. pullpass never lets the kubelet keep one beyond its session.",
            brief,
        )


def _with(config: Config, scope: str) -> Config:
    """The configuration with another scope, and the shortest sessions."""
    assert config.ecr is not None  # `inputs` has looked
    return config._replace(ecr=config.ecr._replace(scope=scope, session_duration_s=SESSION_S))

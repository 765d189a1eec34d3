"""The requests of the matrix: what each finds on the disk, how the cloud is, and how it ends when nothing fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factories import HOST
from faults.site import Site, request
from faults.upstream import DENIES, GIVES, UNREACHABLE
from ordering import make_document, plant
from support import NOW_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MINUTE_S, DAY_S = 60.0, 86400.0
ANSWERED, REFUSED, NO = 0, 3, 4


class Scenario(NamedTuple):
    """A request with its circumstances.

    Attributes:
        name: a few words.
        prepare: makes what the request finds.
        event: of its line in the trail.
        mood: of the cloud.
        status: its exit status.
        raw: the request.
        ecr: lines for [ecr].
        secret: whether a credential is handed out.
        now_s: when, seconds since the epoch.
        untidy: what it finds has leftovers, and half a line.
    """

    name: str
    prepare: Callable[[Site], None]
    event: str
    mood: str = GIVES
    status: int = ANSWERED
    raw: bytes = request()
    ecr: str = ""
    secret: bool = True
    now_s: float = NOW_S
    untidy: bool = False

    def site(self, root: Path, when_full: str = "refuse") -> Site:
        """A site in which the request can be made."""
        site = Site(root, when_full=when_full, ecr=self.ecr)
        self.prepare(site)
        site.clock.at_s = NOW_S
        site.upstream.mood, site.upstream.asked = self.mood, 0
        site.keep()
        return site


def _issue(site: Site, before_s: float, raw: bytes | None = None) -> None:
    """Hand out a credential, some time ago, in a trail that is longer than any other file.

    A limit to the length of files then cuts short what is written to the trail, and nothing before it.
    """
    site.clock.at_s = NOW_S - before_s
    answer = site.serve(raw or request())
    assert answer.status == ANSWERED, answer.stderr
    _refuse(site, 5)


def _refuse(site: Site, times: int) -> None:
    for _ in range(times):
        assert site.serve(request(token=None)).status == REFUSED


def _nothing(site: Site) -> None:
    """Not even the directories: the first request of a node."""


def _fresh(site: Site) -> None:
    _issue(site, MINUTE_S)


def _half_gone(site: Site) -> None:
    _issue(site, 40 * MINUTE_S)


def _expired(site: Site) -> None:
    _issue(site, 65 * MINUTE_S)


def _other_repository(site: Site) -> None:
    _issue(site, MINUTE_S, request(f"{HOST}/team-a/other"))


def _ordered(site: Site) -> None:
    _fresh(site)
    plant(site.state, "o-1.json", make_document())


def _blocked(site: Site) -> None:
    _fresh(site)
    plant(site.state, "o-1.json", make_document(action="block"))


def _crashed(site: Site) -> None:
    """As a killed exchange leaves it: its intent, and temporary files everywhere."""
    _fresh(site)
    [approval] = (site.state / "approvals").iterdir()
    approval.unlink()
    intent = site.runtime / "intents" / approval.stem
    intent.touch(mode=0o600)
    intent.write_text('{"kind":"PullIntent"}\n')
    for place in (site.state / "approvals", site.runtime / "cache", site.runtime):
        leftover = place / f".{approval.name}.4711.0123456789abcdef.tmp"
        leftover.touch(mode=0o600)


def _half_a_line(site: Site) -> None:
    """As a killed writer of the trail leaves it."""
    _fresh(site)
    [path] = (site.state / "audit").glob("*.jsonl")
    with path.open("ab") as stream:
        stream.write(b'{"seq":7,"prev":"')


def _unheaded(site: Site) -> None:
    """Whole lines that the head does not know: their writer died in between."""
    _fresh(site)
    head = (site.state / "audit" / "head").read_bytes()
    _refuse(site, 1)
    (site.state / "audit" / "head").write_bytes(head)


def _days(site: Site) -> None:
    """Files of some days, of which the first ones are past `keep`."""
    for days in (5, 4, 3, 1):
        site.clock.at_s = NOW_S - days * DAY_S
        _refuse(site, 5)
    assert len(list((site.state / "audit").glob("*.jsonl"))) == 4


SCENARIOS = (
    Scenario("first issue", _nothing, "issued"),
    Scenario("cache hit", _fresh, "served"),
    Scenario("rotation", _half_gone, "rotated"),
    Scenario("expired", _expired, "rotated"),
    Scenario("repository added", _other_repository, "issued", ecr='scope = "registry"'),
    Scenario("revalidated by an order", _ordered, "rotated"),
    Scenario("blocked by an order", _blocked, "refused", status=REFUSED, secret=False),
    Scenario("refusal", _fresh, "refused", status=REFUSED, raw=request(f"{HOST}/team-b/app"), secret=False),
    Scenario("denial", _half_gone, "denied", mood=DENIES, status=NO, secret=False),
    Scenario("outage served", _expired, "outage", mood=UNREACHABLE),
    Scenario("renewal unreachable", _half_gone, "served", mood=UNREACHABLE),
    Scenario("without a credential", _fresh, "anonymous", raw=request(f"{HOST}/public/base"), secret=False),
    Scenario("after a crash", _crashed, "issued", untidy=True),
    Scenario("after half a line", _half_a_line, "served", untidy=True),
    Scenario("after a line without its head", _unheaded, "served"),
    Scenario("new day, old files go", _days, "issued"),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}

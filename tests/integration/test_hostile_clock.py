"""A clock that jumps, and two versions of the program, on one state directory."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pullpass
from faults import invariants
from faults.scenarios import BY_NAME
from faults.site import LIBRARIES, Site, request
from faults.upset import last_seq, works
from faults.upstream import DENIES, GIVES, UNREACHABLE, StandingClock
from ordering import make_document, plant
from pullpass.store import digest
from pullpass.trail import head
from support import NOW_S, make_claims, make_token

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.own

HOUR_S, DAY_S = 3600.0, 86400.0
JUMPS = {"an hour back": -HOUR_S, "a day ahead": DAY_S}


def request_at(now_s: float) -> bytes:
    """A request with a token of that time, as the API server's clock, which does not jump, would not give it."""
    return request(token=make_token(make_claims(now_s=now_s - 60, life_s=2 * HOUR_S)))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site in which a credential was handed out a minute ago."""
    return BY_NAME["cache hit"].site(tmp_path / "site")


# --- the clock


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_jumps_between_two_requests(site: Site, jump: str) -> None:
    """What it makes doubtful is not served: the cloud is asked, and again when the clock has jumped back."""
    for now_s in (NOW_S + JUMPS[jump], NOW_S):
        site.clock.at_s, before, asked = now_s, last_seq(site), site.upstream.asked
        answer = site.serve(request_at(now_s))
        assert answer.status == 0, answer.stderr
        assert site.upstream.asked == asked + 1
        assert invariants.of_answer(site, answer.stdout, before) == []
    works(site)


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_while_the_cloud_is_out_of_reach(site: Site, jump: str) -> None:
    """An approval dated in the future, or a day too old, is none that an outage keeps alive."""
    site.upstream.mood = UNREACHABLE
    site.clock.at_s = NOW_S + JUMPS[jump]
    answer = site.serve(request_at(site.clock.at_s))
    assert (answer.status, answer.stdout) == (5, b"")
    site.upstream.mood, site.clock.at_s = GIVES, NOW_S
    works(site)


@pytest.mark.parametrize("jump", JUMPS)
def test_a_denial_and_a_jump(site: Site, jump: str) -> None:
    """A no that is dated in the future, or long ago, is asked about anew; what it has purged stays gone."""
    shutil.rmtree(site.state / "approvals")
    site.upstream.mood = DENIES
    assert site.serve(request()).status == 4
    asked = site.upstream.asked
    site.clock.at_s = NOW_S + JUMPS[jump]
    answer = site.serve(request_at(site.clock.at_s))
    assert (answer.status, answer.stdout, site.upstream.asked) == (4, b"", asked + 1)


class JumpingClock(StandingClock):
    """A clock that jumps when it has been read so many times.

    Attributes:
        reads: how often it was read.
    """

    def __init__(self, at_s: float, jump_s: float, after: int) -> None:
        super().__init__(at_s)
        self.jump_s, self.after, self.reads = jump_s, after, 0

    def now_s(self) -> float:
        """The moment, before or behind the jump."""
        self.reads += 1
        return self.at_s + (self.jump_s if self.reads > self.after else 0.0)


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("name", ["first issue", "cache hit", "rotation", "denial", "outage served"])
def test_a_clock_that_jumps_within_a_request(tmp_path: Path, name: str, jump: str) -> None:
    """Wherever that is: an answer has its approval and its line, or there is none; then all is well."""
    scenario = BY_NAME[name]
    site = scenario.site(tmp_path / "site")
    after = 0
    while True:
        site.restore()
        clock = JumpingClock(NOW_S, JUMPS[jump], after)
        before = last_seq(site)
        answer = site.serve(scenario.raw, clock=clock)
        assert b"internal" not in answer.stderr
        if answer.stdout:
            found = json.loads(answer.stdout)
            [handed] = found["auth"].values()
            assert int(found["cacheDuration"].removesuffix("s")) <= 600
            hashed = digest.credential_hash(handed["username"], handed["password"])
            assert hashed in [approval.credential_hash for approval in invariants.stored(site)]
            assert hashed in [line.get("credentialHash") for line in invariants.lines(site) if line["seq"] > before]
        assert invariants.of_files(site, leftovers=False, half_line=False) + invariants.of_trail(site) == []
        if clock.reads <= after:
            break
        after += 1
    assert after > 1
    site.upstream.mood = GIVES
    site.clock.at_s = NOW_S + HOUR_S
    works(site)


# --- two versions


@pytest.fixture
def other(tmp_path: Path) -> list[str]:
    """Where another version of the program is, and what both need."""
    place = tmp_path / "other"
    shutil.copytree(Path(pullpass.__file__).parent, place / "pullpass", ignore=shutil.ignore_patterns("__pycache__"))
    init = place / "pullpass" / "__init__.py"
    text = init.read_text()
    assert f'"{pullpass.__version__}"' in text
    init.write_text(text.replace(f'"{pullpass.__version__}"', '"999.0.0"'))
    return [str(place), *LIBRARIES]


def test_two_versions_take_turns(site: Site, other: list[str]) -> None:
    """Each compiles the configuration for itself; approvals, cache and trail are one, and no cloud is asked."""
    words = site.command(DENIES)[: -len(LIBRARIES)]
    for libraries in (LIBRARIES, other, LIBRARIES, other):
        before = last_seq(site)
        done = subprocess.run([*words, *libraries], input=request(), capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert invariants.of_answer(site, done.stdout, before) == []
        stamp = json.loads((site.runtime / "config.json").read_bytes())["stamp"]
        assert stamp[0] == ("999.0.0" if libraries is other else pullpass.__version__)
    works(site)


def _edit(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def test_what_a_later_version_adds_to_an_approval(site: Site) -> None:
    """Members that nobody here knows do not stand against it."""
    [path] = (site.state / "approvals").iterdir()
    _edit(path, lambda document: document.update(later={"is": "better"}))
    works(site)
    assert site.upstream.asked == 0


def test_an_approval_of_another_version(site: Site) -> None:
    """What can't be understood is not served: the cloud decides."""
    [path] = (site.state / "approvals").iterdir()
    _edit(path, lambda document: document.update(apiVersion="pullpass/v2"))
    assert site.serve(request()).status == 0
    assert site.upstream.asked == 1
    assert "approval-unreadable" in [line.get("code") for line in invariants.lines(site)]
    works(site)


def test_a_cache_entry_of_another_version(site: Site) -> None:
    """It is left alone; each request asks the cloud, and says why in the trail."""
    [entry] = (site.runtime / "cache").iterdir()
    theirs = entry.read_bytes().replace(b"pullpass-cache 1\n", b"pullpass-cache 2\n", 1)
    entry.write_bytes(theirs)
    for asked in (1, 2):
        before = last_seq(site)
        answer = site.serve(request())
        assert (answer.status, site.upstream.asked, entry.read_bytes()) == (0, asked, theirs)
        assert invariants.of_answer(site, answer.stdout, before) == []
    assert "cache-damaged" in [line.get("code") for line in invariants.lines(site)]


def test_an_order_of_another_version(site: Site) -> None:
    """It may be a block."""
    path = plant(site.state, "o-1.json", make_document(apiVersion="pullpass/v2"))
    answer = site.serve(request())
    assert (answer.status, answer.stdout) == (6, b"")
    assert answer.stderr.startswith(b"pullpass: order-unreadable: ")
    path.unlink()
    works(site)


def test_a_trail_of_another_version(site: Site) -> None:
    """It is not written over."""
    path = site.state / "audit" / "head"
    ours = path.read_bytes()
    theirs = ours.replace(b'"version":1', b'"version":2')
    path.write_bytes(theirs)
    answer = site.serve(request())
    assert (answer.status, answer.stdout, path.read_bytes()) == (6, b"", theirs)
    assert answer.stderr.startswith(b"pullpass: trail-unwritable: ")
    path.write_bytes(ours)
    assert head.parse(ours) is not None
    works(site)

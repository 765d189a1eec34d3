"""What is stored for a plan: whether it may be handed out, what is wrong with its files, and when it is renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from factories import ROLE, make_approval, make_config, make_subject, make_target
from pullpass import registry, stored
from pullpass.approvals import AHEAD, EXPIRED, LIVING, REMEMBERED, VOIDED
from pullpass.cache import disk
from pullpass.errors import PullpassError
from pullpass.exchange import plan
from pullpass.policy import Decision
from serving import HOUR_S, Run
from support import NOW_S

if TYPE_CHECKING:
    from pathlib import Path

    from pullpass.exchange import Plan
    from pullpass.stored import Stored


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    """A node on which one request was answered."""
    run = Run(tmp_path)
    run.answer(run.request())
    return run


def planned(run: Run) -> Plan:
    """The plan of that request."""
    decision = Decision("team images", ROLE, "", pull_through=False)
    return plan.make(make_subject(), make_target(), decision, run.config)


def look_up(run: Run, later_s: float = 0.0, required: tuple[str, ...] = ()) -> Stored:
    """What is stored for it."""
    return stored.look_up(run.config, planned(run), required, NOW_S + later_s)


def password(found: Stored) -> str:
    """The password of the credential that was found, or ""."""
    return found.credential.secret.reveal() if found.credential else ""


def test_nothing_is_stored_at_first(tmp_path: Path) -> None:
    """And looking leaves no files but the directory."""
    run = Run(tmp_path)
    found = look_up(run)
    assert (found.approval, found.standing, found.credential) == (None, "", None)
    assert (found.serves, found.outlives, found.warnings) == (False, False, ())
    assert [path.name for path in run.state.iterdir()] == ["approvals"]


def test_what_lives_serves(run: Run) -> None:
    """Approval and credential belong together."""
    found = look_up(run)
    assert found.approval is not None
    assert (found.standing, found.serves, found.outlives, found.warnings) == (LIVING, True, False, ())
    assert password(found) == "pass word"


@pytest.mark.parametrize(
    ("later_s", "required", "standing"),
    [(-1.0, (), AHEAD), (0.0, ("order-1",), VOIDED), (5 * HOUR_S, (), EXPIRED)],
)
def test_what_does_not_stand_is_not_even_read(
    later_s: float, required: tuple[str, ...], standing: str, run: Run
) -> None:
    """A damaged entry of the cache would be warned of otherwise."""
    run.cache_path.write_bytes(b"damaged")
    found = look_up(run, later_s, required)
    assert (found.standing, found.credential, found.warnings) == (standing, None, ())
    assert not found.serves
    assert not found.outlives


def test_a_denial_is_not_even_read(run: Run) -> None:
    """Its credential may still lie there, where it could not be removed."""
    run.edit(state="denied", deniedAt="2027-01-15T08:00:00Z", deniedCode="aws-sts-denied")
    assert (look_up(run, 29.0).standing, look_up(run, 29.0).credential) == (REMEMBERED, None)
    for later_s in (30.0, HOUR_S):
        assert (look_up(run, later_s).standing, look_up(run, later_s).credential) == (EXPIRED, None)


@pytest.mark.parametrize(
    ("later_s", "outage_s", "serves", "outlives"),
    [
        (HOUR_S - 30, 4 * HOUR_S, True, False),
        (HOUR_S - 29.9, 4 * HOUR_S, False, True),
        (HOUR_S - 29.9, 0.0, False, False),
        (HOUR_S, 4 * HOUR_S, False, True),
        (HOUR_S, 0.0, False, False),
        (5 * HOUR_S - 0.1, 4 * HOUR_S, False, True),
        (5 * HOUR_S, 4 * HOUR_S, False, False),
        (12 * HOUR_S - 30, 24 * HOUR_S, False, True),
        (12 * HOUR_S - 29.9, 24 * HOUR_S, False, False),
    ],
)
def test_near_and_after_its_end(later_s: float, outage_s: float, serves: bool, outlives: bool, run: Run) -> None:
    """Living until `min_life` before the end, then good enough for an outage only; no gap in between."""
    run.set(outage_s=outage_s)
    found = look_up(run, later_s)
    assert (found.serves, found.outlives) == (serves, outlives)
    assert bool(password(found)) == (serves or outlives)


def test_an_age_alone_ends_at_its_moment(run: Run) -> None:
    """`min_life` is about the credential's life: with hours of it left, `max_age` is used to the last second."""
    run.edit(expires="2027-01-15T08:10:00Z")
    assert look_up(run, 599.0).serves
    assert look_up(run, 600.0).outlives


# --- files


def test_an_approval_that_can_not_be_believed_is_none(run: Run) -> None:
    """The warning names the file and what is wrong."""
    run.approval_path.write_text("{")
    found = look_up(run)
    assert (found.approval, found.standing, found.credential, found.serves) == (None, "", None, False)
    [warning] = found.warnings
    assert warning.code == "approval-unreadable"
    assert warning.message.startswith(f"{run.approval_path} is not JSON")


def test_a_lost_entry_is_a_miss_without_a_warning(run: Run) -> None:
    """That is what a reboot does."""
    run.cache_path.unlink()
    found = look_up(run)
    assert (found.standing, found.credential, found.serves, found.warnings) == (LIVING, None, False, ())


def test_a_damaged_entry_is_a_miss_with_a_warning(run: Run) -> None:
    """Nothing outlives without its credential either."""
    run.cache_path.write_bytes(run.cache_path.read_bytes()[:-1])
    for later_s in (0.0, HOUR_S):
        found = look_up(run, later_s)
        assert (found.credential, found.serves, found.outlives) == (None, False, False)
        [warning] = found.warnings
        assert (warning.code, warning.message.split(" ")[0]) == ("cache-damaged", str(run.cache_path))


def test_a_credential_that_its_approval_is_not_about_is_a_miss(run: Run) -> None:
    """Another hash in the approval's file: somebody has put another one there."""
    run.edit(credentialHash="0" * 64)
    found = look_up(run)
    assert (found.credential, found.serves) == (None, False)
    assert found.warnings == (("cache-damaged", f"{run.cache_path} is not the credential that its approval is about"),)


@pytest.mark.parametrize("later_s", [HOUR_S, 12 * HOUR_S - 10])
def test_a_longer_life_in_the_approval_is_not_believed(later_s: float, run: Run) -> None:
    """The credential's own ends are encrypted with it."""
    run.set(max_age_s=24 * HOUR_S)
    year = dict.fromkeys(("expires", "registryExpires", "sessionExpires"), "2028-01-15T08:00:00Z")
    run.edit(**year)
    found = look_up(run, later_s)
    assert (found.standing, found.credential, found.serves, found.warnings) == (LIVING, None, False, ())


def test_an_entry_whose_password_ends_is_none_in_an_outage_either(run: Run) -> None:
    """Whatever end the approval claims for it."""
    run.set(outage_s=24 * HOUR_S)
    run.edit(registryExpires="2028-01-15T08:00:00Z")
    assert look_up(run, 12 * HOUR_S - 30).outlives
    found = look_up(run, 12 * HOUR_S - 29)
    assert (found.standing, found.credential, found.outlives) == (EXPIRED, None, False)


def test_a_cache_that_others_may_change_is_not_used(run: Run) -> None:
    """The approval stands, and its credential is fetched again."""
    (run.runtime / "cache").chmod(0o777)
    [warning] = look_up(run).warnings
    assert warning.code == "cache-unusable"
    assert "may be written by others" in warning.message


def test_a_runtime_directory_that_is_none_is_not_used(run: Run) -> None:
    """A file stands under its name."""
    run.config = run.config._replace(paths=run.config.paths._replace(runtime="/dev/null"))
    assert look_up(run).warnings == (("cache-unusable", "/dev/null: Not a directory"),)


def test_without_approvals_there_is_no_answer(run: Run) -> None:
    """A directory of approvals that others may change stops the run, rather than be believed."""
    (run.state / "approvals").chmod(0o777)
    with pytest.raises(PullpassError) as caught:
        look_up(run)
    assert caught.value.code == "state-path"


def test_an_entry_of_another_version_is_a_miss_and_stays(run: Run) -> None:
    """The other version of the program needs it."""
    run.cache_path.write_bytes(disk.MAGIC + b"2\nwhatever")
    [warning] = look_up(run).warnings
    assert warning.message == f"{run.cache_path} is no cache entry of this version"


# --- when it is renewed

FIRST, LAST = "0" * 64, "f" * 64  # the keys whose renewal is spread least and most
GOOGLE = plan.make(
    make_subject(),
    registry.match("gcr.io/proj/app"),
    Decision("google", "principal", "", pull_through=False),
    make_config(),
)
AWS = plan.make(make_subject(), make_target(), Decision("team images", ROLE, "", pull_through=False), make_config())


def due(later_s: float, *, key: str = FIRST, planned: Plan = AWS, token_s: float = HOUR_S, **fields: Any) -> bool:
    """Whether a credential that lives for an hour is to be renewed."""
    approval = make_approval(key=key, **fields)
    found = stored.Stored(approval, LIVING, None, outlives=False, warnings=())
    subject = make_subject(expires_s=NOW_S + token_s)
    return stored.renewal_due(found, planned, subject, NOW_S + later_s)


def test_a_credential_is_renewed_when_half_of_its_life_is_gone() -> None:
    """Up to a tenth of it later, by its key, so that a node's keys are not all renewed in one minute."""
    assert [due(later_s) for later_s in (0.0, 1799.9, 1800.0, 3599.0)] == [False, False, True, True]
    assert [due(later_s, key=LAST) for later_s in (1800.0, 2159.9, 2160.0)] == [False, False, True]
    middle = "8" + "0" * 63
    assert [due(later_s, key=middle) for later_s in (1979.0, 1981.0)] == [False, True]


def test_the_life_ends_with_password_or_session() -> None:
    """Whichever is first; `max_age` has its own end."""
    assert due(900.0, registry_expires_s=NOW_S + 1800, session_expires_s=NOW_S + 7200)
    assert not due(1800.0, session_expires_s=NOW_S + 7200, expires_s=NOW_S + 2000)


def test_a_life_that_follows_the_token_is_renewed_by_a_later_token_only() -> None:
    """The same token, or an older one, gives nothing longer; without a token there is none to wait for."""
    assert (AWS.life_follows_token, GOOGLE.life_follows_token) == (False, True)
    assert [due(1800.0, planned=GOOGLE, token_s=token_s) for token_s in (1800, HOUR_S, HOUR_S + 1)] == [
        False,
        False,
        True,
    ]
    assert due(1800.0, token_s=1800)
    found = stored.Stored(make_approval(key=FIRST), LIVING, None, outlives=False, warnings=())
    assert stored.renewal_due(found, GOOGLE, None, NOW_S + 1800)


def test_after_an_outage_there_is_a_pause() -> None:
    """Half a minute, and none for a moment that lies ahead: the clock was put back."""
    noted = [due(2000.0, unreachable_at_s=NOW_S + 2000 + ago_s) for ago_s in (-30.0, -29.9, 0.0, 0.1)]
    assert noted == [True, False, False, True]

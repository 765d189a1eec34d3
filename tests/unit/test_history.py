"""What a credential, a denial, another repository and a cloud that can't be reached make of an approval."""

from __future__ import annotations

import hashlib
from typing import Any

from factories import HOST, IMAGE, ROLE, make_config, make_subject, make_target
from pullpass.approvals import APPROVED, DENIED, Approval, Repository, history
from pullpass.approvals.history import Asked, Validation
from pullpass.exchange import Credential, plan
from pullpass.policy import Decision
from pullpass.secret import Secret
from pullpass.store import digest
from support import ISSUER, NOW_S

SUBJECT = make_subject()
PLAN = plan.make(SUBJECT, make_target(), Decision("team images", ROLE, "", pull_through=False), make_config())
ASKED = Asked("prod-1", SUBJECT, Secret("token"), PLAN, IMAGE, "team images")
WHEN = Validation(NOW_S, 3600.0, ("order-1",))


def credential(named: str = "one", **fields: Any) -> Credential:
    """What the cloud gave, with this password."""
    made = Credential("AWS", Secret(named), NOW_S + 43200, NOW_S + 7200, "arn", "ASIA", ("request-1",))
    return made._replace(**fields)


def first() -> Approval:
    """The approval after the first exchange."""
    return history.validated(None, ASKED, credential(), WHEN)


def test_a_first_credential_makes_an_approval() -> None:
    """Every member says what it is about, and nothing holds a secret."""
    assert first() == Approval(
        key=PLAN.key,
        state=APPROVED,
        cluster="prod-1",
        issuer=ISSUER,
        namespace="team-a",
        service_account="web",
        uid=SUBJECT.uid,
        identity=ROLE,
        opens="ecr:aws:111122223333:us-west-2:team-a/app",
        credential_hash=digest.credential_hash("AWS", "one"),
        registry_expires_s=NOW_S + 43200,
        session_expires_s=NOW_S + 7200,
        first_approved_s=NOW_S,
        last_validated_s=NOW_S,
        expires_s=NOW_S + 3600,
        validated_by="request",
        validated_under=("order-1",),
        rotations=0,
        previous_hashes=(),
        repositories={IMAGE: Repository(NOW_S, "team images")},
        token_hash=hashlib.sha256(b"token").hexdigest(),
        jti=SUBJECT.jti,
        pod=SUBJECT.pod,
        token_expires_s=SUBJECT.expires_s,
        principal="arn",
        access_key_id="ASIA",
        request_ids=("request-1",),
    )


def test_without_a_token_there_is_nobody_and_no_evidence() -> None:
    """A static pod's approval is the node's."""
    made = history.validated(None, ASKED._replace(subject=None, token=None), credential(), WHEN)
    assert (made.issuer, made.namespace, made.service_account, made.uid) == ("", "", "", "")
    assert (made.token_hash, made.jti, made.pod, made.token_expires_s) == ("", "", "", 0.0)


def test_an_approval_ends_with_the_life_or_with_its_age() -> None:
    """Whichever is first."""
    ends = {
        (7200.0, 3600.0): 3600.0,
        (7200.0, 86400.0): 7200.0,
        (86400.0, 86400.0): 43200.0,
    }
    for (session_s, age_s), end_s in ends.items():
        made = history.validated(
            None, ASKED, credential(session_expires_s=NOW_S + session_s), WHEN._replace(max_age_s=age_s)
        )
        assert made.expires_s == NOW_S + end_s


def test_rotation_keeps_the_beginning_counts_and_remembers_eight_hashes() -> None:
    """The last one at the end; the one in use is not among them."""
    approval, hashes = first(), [first().credential_hash]
    for number in range(1, 11):
        when = Validation(NOW_S + number, 3600.0, ())
        approval = history.validated(approval, ASKED, credential(f"password {number}"), when)
        assert approval.previous_hashes == tuple(hashes[-8:])
        assert (approval.first_approved_s, approval.last_validated_s) == (NOW_S, NOW_S + number)
        assert (approval.rotations, approval.validated_under) == (number, ())
        hashes.append(approval.credential_hash)
    assert len(set(hashes)) == 11
    assert approval.repositories == first().repositories


def test_the_same_credential_again_is_no_rotation() -> None:
    """It is validated anew, and that is all."""
    again = history.validated(first(), ASKED, credential(), WHEN._replace(sent_s=NOW_S + 60))
    assert (again.rotations, again.previous_hashes) == (0, ())
    assert again.last_validated_s == NOW_S + 60


def test_a_denial_keeps_the_history_and_a_credential_ends_the_denial() -> None:
    """What was validated stays written; how often the cloud changed its mind is the trail's business."""
    denied = history.denied(first(), ASKED, NOW_S + 60, "aws-sts-denied")
    assert denied == first()._replace(state=DENIED, denied_at_s=NOW_S + 60, denied_code="aws-sts-denied")
    later = history.validated(denied, ASKED, credential("two"), WHEN._replace(sent_s=NOW_S + 120))
    assert (later.state, later.denied_at_s, later.denied_code) == (APPROVED, None, "")
    assert (later.first_approved_s, later.rotations) == (NOW_S, 1)


def test_a_first_denial_makes_an_approval_of_nothing() -> None:
    """It says who was denied what, and has no credential; the first one afterwards is no rotation."""
    denied = history.denied(None, ASKED, NOW_S, "aws-sts-denied")
    assert (denied.state, denied.key, denied.identity, denied.namespace) == (DENIED, PLAN.key, ROLE, "team-a")
    assert (denied.credential_hash, denied.expires_s, denied.repositories) == ("", 0.0, {})
    later = history.validated(denied, ASKED, credential(), WHEN._replace(sent_s=NOW_S + 60))
    assert (later.first_approved_s, later.rotations, later.previous_hashes) == (NOW_S + 60, 0, ())


def test_a_cloud_that_could_not_be_reached_is_noted_until_it_was() -> None:
    """Nothing else changes: neither its end nor when it was validated."""
    noted = history.unreachable(first(), NOW_S + 60)
    assert noted == first()._replace(unreachable_at_s=NOW_S + 60)
    assert history.validated(noted, ASKED, credential("two"), WHEN).unreachable_at_s is None


def test_a_repository_is_added_once() -> None:
    """With the grant that said yes, and when."""
    other = ASKED._replace(image=f"{HOST}/team-a/other", grant="others")
    added = history.with_repository(first(), other, NOW_S + 60)
    assert added.repositories == {
        IMAGE: Repository(NOW_S, "team images"),
        f"{HOST}/team-a/other": Repository(NOW_S + 60, "others"),
    }
    assert history.with_repository(added, other._replace(grant="third"), NOW_S + 120) is added
    assert len(first().repositories) == 1
    rotated = history.validated(added, ASKED, credential("two"), WHEN)
    assert rotated.repositories == added.repositories


def test_the_list_of_repositories_does_not_grow_for_ever() -> None:
    """A workload may ask for as many names as its grant has; the oldest leave first."""
    approval = first()
    for number in range(history.REPOSITORIES_KEPT + 5):
        asked = ASKED._replace(image=f"{HOST}/team-a/{number}")
        approval = history.with_repository(approval, asked, NOW_S)
    names = list(approval.repositories)
    assert len(names) == history.REPOSITORIES_KEPT
    assert (names[0], names[-1]) == (f"{HOST}/team-a/5", f"{HOST}/team-a/{history.REPOSITORIES_KEPT + 4}")

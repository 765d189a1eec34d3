"""Policy: who gets which identity, and why not."""

from __future__ import annotations

from typing import Any

import pytest

from factories import HOST, ROLE, make_config, make_grant, make_subject, make_target
from pullpass import policy, registry
from pullpass.errors import REFUSED, PullpassError
from pullpass.policy import Decision

GCR_TARGET = make_target(
    kind=registry.GCR, host="europe-docker.pkg.dev", repository="proj/team-b/web", account="", region="", partition=""
)
GCR_IMAGES = ("europe-docker.pkg.dev/proj/**",)
EMAIL = "pull@proj.iam.gserviceaccount.com"
KEY = "eks.amazonaws.com/ecr-role-arn"


def refusal(*grants: Any, **arguments: Any) -> PullpassError:
    """The error with which policy refuses."""
    fields = arguments.pop("config", {})
    values = {"subject": make_subject(), "annotations": {}, "target": make_target()} | arguments
    with pytest.raises(PullpassError) as caught:
        policy.decide(config=make_config(*grants, **fields), **values)
    assert caught.value.status == REFUSED
    return caught.value


def decide(*grants: Any, **arguments: Any) -> Decision:
    """What policy decides."""
    values = {"subject": make_subject(), "annotations": {}, "target": make_target()} | arguments
    return policy.decide(config=make_config(*grants), **values)


def test_a_matching_grant_gives_its_identity() -> None:
    """The decision names the grant, its identity and what else it says."""
    via = "arn:aws:iam::444455556666:role/{cluster}_{namespace}"
    decision = decide(make_grant(pull_through=True, via=via))
    assert decision == Decision(
        grant="team images", identity=ROLE, via="arn:aws:iam::444455556666:role/prod-1_team-a", pull_through=True
    )


def test_templates_are_filled_in_from_the_subject_and_the_cluster() -> None:
    """Every placeholder takes its value."""
    template = "arn:aws:iam::111122223333:role/{cluster}/{namespace}/{service_account}"
    assert decide(make_grant(identity=template)).identity == "arn:aws:iam::111122223333:role/prod-1/team-a/web"


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(make_subject(namespace="team-ab"), id="namespace with the same prefix"),
        pytest.param(make_subject(namespace="team"), id="shorter namespace"),
        pytest.param(make_subject(namespace="kube-system"), id="other namespace"),
    ],
)
def test_another_namespace_is_refused(subject: Any) -> None:
    """Nothing but a grant that names the service account opens an image."""
    error = refusal(subject=subject)
    assert error.code == "no-grant"
    assert f"service account {subject.namespace}/web and image {HOST}/team-a/app" in error.what


def test_another_image_is_refused() -> None:
    """A grant opens what its globs name, not what begins alike."""
    for repository in ("team-ab/app", "team-b/app", "app"):
        assert refusal(target=make_target(repository=repository)).code == "no-grant"


def test_a_grant_for_one_service_account_is_for_that_one() -> None:
    """A name is matched whole."""
    grant = make_grant(service_accounts=("team-a/web",))
    assert decide(grant).grant == "team images"
    assert refusal(grant, subject=make_subject(service_account="web2")).code == "no-grant"


def test_the_first_match_wins_in_the_order_of_the_file() -> None:
    """A wider grant below never repairs or replaces what a narrower one above said."""
    narrow = make_grant(name="narrow", images=(f"{HOST}/team-a/app",), identity=f"{ROLE}-app")
    wide = make_grant(name="wide")
    assert decide(narrow, wide).identity == f"{ROLE}-app"
    assert decide(wide, narrow).identity == ROLE
    assert decide(narrow, wide, target=make_target(repository="team-a/other")).grant == "wide"


def test_refuse_makes_an_exception_above_a_wider_grant() -> None:
    """`identity = "refuse"` ends the search."""
    exception = make_grant(name="no app", images=(f"{HOST}/team-a/app",), identity="refuse")
    error = refusal(exception, make_grant())
    assert error.code == "refused-by-grant"
    assert "'no app'" in error.what
    assert decide(exception, make_grant(), target=make_target(repository="team-a/other")).identity == ROLE


def test_anonymous_needs_no_identity_of_the_cloud() -> None:
    """A public image is answered without a credential, whichever registry it lives in."""
    assert decide(make_grant(identity="anonymous")).identity == policy.ANONYMOUS
    public = make_grant(identity="anonymous", images=GCR_IMAGES)
    assert decide(public, target=GCR_TARGET).identity == policy.ANONYMOUS


def test_node_grants_are_for_requests_without_a_token_only() -> None:
    """Neither kind of grant answers the other kind of request."""
    node = make_grant(name="static pods", node=True, service_accounts=(), identity="node")
    assert decide(make_grant(), node, subject=None) == Decision("static pods", policy.NODE, "", pull_through=False)
    assert refusal(node).code == "no-grant"
    error = refusal(make_grant(), subject=None)
    assert error.code == "no-grant"
    assert "a request without a token" in error.what
    assert "node = true" in error.hint


def test_the_nodes_identity_can_be_given_to_service_accounts() -> None:
    """`identity = "node"` under `service_accounts` is legal and explicit."""
    assert decide(make_grant(identity="node")).identity == policy.NODE


def test_the_migration_mode_gives_the_node_what_no_grant_matches() -> None:
    """With `policy.unmatched = "node"` what would be refused gets the node's identity, and says so."""
    for subject in (make_subject(namespace="other"), None):
        config = make_config(unmatched="node")
        decision = policy.decide(subject, {}, make_target(), config)
        assert decision == Decision("", policy.NODE, "", pull_through=False, would_refuse=True)
    assert not policy.decide(make_subject(), {}, make_target(), make_config(unmatched="node")).would_refuse


def test_the_migration_mode_overrides_no_refusal() -> None:
    """A grant that refuses, or whose annotation is missing, is not turned into the node's identity."""
    exception = make_grant(identity="refuse")
    assert refusal(exception, config={"unmatched": "node"}).code == "refused-by-grant"
    assert refusal(annotated(), config={"unmatched": "node"}).code == "annotation-missing"


def annotated(*keys: str, allow: tuple[str, ...] = ("arn:aws:iam::111122223333:role/pull/{namespace}/*",)) -> Any:
    """A grant whose identity an annotation chooses."""
    return make_grant(identity="", annotations=keys or (KEY,), allow=allow)


def test_an_annotation_chooses_among_allowed_identities() -> None:
    """What the grant's allow-list names may be asked for."""
    role = "arn:aws:iam::111122223333:role/pull/team-a/app"
    assert decide(annotated(), annotations={KEY: role}).identity == role


def test_the_first_annotation_present_chooses() -> None:
    """Several keys are tried in the order of the grant, and a bad choice is not repaired by a later key."""
    grant = annotated("first.example/role", "second.example/role")
    one, two = (f"arn:aws:iam::111122223333:role/pull/team-a/{name}" for name in ("one", "two"))
    assert decide(grant, annotations={"second.example/role": two}).identity == two
    assert decide(grant, annotations={"second.example/role": two, "first.example/role": one}).identity == one
    error = refusal(grant, annotations={"second.example/role": two, "first.example/role": ""})
    assert error.code == "identity-invalid"
    assert "first.example/role" in error.what


def test_a_missing_annotation_names_the_keys() -> None:
    """The refusal says which annotations would have chosen."""
    error = refusal(annotated("a.example/role", "b.example/role"), annotations={"c.example/role": ROLE})
    assert error.code == "annotation-missing"
    assert "a.example/role or b.example/role" in error.what
    assert "optionalServiceAccountAnnotationKeys" in error.hint


@pytest.mark.parametrize(
    "role",
    [
        pytest.param("arn:aws:iam::111122223333:role/pull/team-b/app", id="another namespace's path"),
        pytest.param("arn:aws:iam::111122223333:role/pull/team-a/app/deeper", id="deeper path"),
        pytest.param("arn:aws:iam::111122223333:role/admin", id="another role"),
        pytest.param("arn:aws:iam::999999999999:role/pull/team-a/app", id="another account"),
        pytest.param("arn:aws-cn:iam::111122223333:role/pull/team-a/app", id="another partition"),
        pytest.param(EMAIL, id="an e-mail"),
        pytest.param("principal", id="direct federation"),
    ],
)
def test_an_identity_outside_the_allow_list_is_refused(role: str) -> None:
    """The value is shown, and nothing is given."""
    error = refusal(annotated(), annotations={KEY: role})
    assert error.code == "identity-not-allowed"
    assert repr(role) in error.what


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "node",
        "anonymous",
        "refuse",
        "pull/team-a/app",
        "arn:aws:iam::1:role/x",
        f"{ROLE}\n",
        "\x1b[2J",
        "*",
        "{}",
    ],
)
def test_an_annotation_that_names_no_identity_is_refused(value: str) -> None:
    """Even an allow-list that allows everything does not let an annotation say `node` or write into the log."""
    error = refusal(annotated(allow=("*", "**", "arn:aws:iam::111122223333:role/**")), annotations={KEY: value})
    assert error.code == "identity-invalid"
    assert error.line().isprintable()


@pytest.mark.parametrize("identity", [EMAIL, "principal"])
def test_google_identities_are_for_googles_registries(identity: str) -> None:
    """They are given for an image there, and refused for one in ECR."""
    assert decide(make_grant(identity=identity, images=GCR_IMAGES), target=GCR_TARGET).identity == identity
    error = refusal(make_grant(identity=identity))
    assert error.code == "identity-mismatch"
    assert "an IAM role" in error.what


def test_a_role_is_for_ecr() -> None:
    """A role is refused for one of Google's registries."""
    error = refusal(make_grant(images=GCR_IMAGES), target=GCR_TARGET)
    assert error.code == "identity-mismatch"
    assert "`principal`" in error.what

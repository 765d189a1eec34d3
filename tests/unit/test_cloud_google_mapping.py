"""The local cloud as Google: mapping and condition make principals, by expressions, within limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloud.gcp.cel import EvaluationError, Expression, ExpressionError
from cloud.gcp.clients import (
    access_token,
    exchange,
    oauth_error,
    pull,
    subject_token,
)
from cloud.gcp.world import MAPPING, PULL_ACCOUNT, principal, principal_set

if TYPE_CHECKING:
    from cloud import Cloud


def test_a_subject_of_127_bytes_and_one_of_128(cloud: Cloud) -> None:
    """The limit is on bytes of the mapped subject, and the refusal says what to do."""
    base = len("system:serviceaccount:ns:")
    token = subject_token(cloud, "ns", "w" * (127 - base))
    assert access_token(cloud, token)
    for name in ("w" * (128 - base), "ü" * 52):
        status, code, description = oauth_error(exchange(cloud, subject_token(cloud, "ns", name)))
        assert (status, code) == (400, "invalid_request")
        assert "exceeds the 127 bytes limit" in description
    compact = {"google.subject": "assertion['kubernetes.io']['serviceaccount']['uid']"}
    cloud.set_workload_provider(mapping=compact)
    assert access_token(cloud, subject_token(cloud, "ns", "w" * 200))


def test_mapped_attributes_have_a_limit_together(cloud: Cloud) -> None:
    """8 KB for everything that is mapped."""
    cloud.set_workload_provider(mapping={"google.subject": "'x'", "attribute.long": "assertion.long"})
    assert access_token(cloud, subject_token(cloud, claims={"long": "a" * 8191}))
    _, code, description = oauth_error(exchange(cloud, subject_token(cloud, claims={"long": "a" * 8192})))
    assert (code, "8192 bytes" in description) == ("invalid_request", True)


@pytest.mark.parametrize(
    "mapping",
    [
        {"google.subject": "assertion.nothing"},
        {"google.subject": "assertion.aud"},
        {"google.subject": "''"},
        {"google.subject": "assertion.sub", "attribute.ns": "assertion['kubernetes.io']"},
        {"google.subject": "assertion.sub", "google.groups": "assertion.sub"},
        {"google.subject": "assertion.sub", "google.groups": "[assertion.sub, 7]"},
    ],
    ids=str,
)
def test_a_mapping_without_a_value(cloud: Cloud, mapping: dict[str, str]) -> None:
    """What is mapped must be text, groups a list of text; the subject must be something."""
    cloud.set_workload_provider(mapping=mapping)
    assert oauth_error(exchange(cloud))[:2] == (400, "invalid_grant")


def test_groups_and_attributes_make_members(cloud: Cloud) -> None:
    """A binding may name a group, an attribute's value or the whole pool; an attribute without a value names nobody."""
    mapping = {**MAPPING, "google.groups": "assertion.groups", "attribute.missing": "assertion.missing"}
    cloud.set_workload_provider(mapping=mapping)
    token = access_token(cloud, subject_token(cloud, claims={"groups": ["pullers", "others"]}))
    pool = principal_set("ns", "team-b").partition("/attribute.")[0]
    for members, status in (
        ([f"{pool}/group/pullers"], 200),
        ([f"{pool}/group/admins"], 403),
        ([f"{pool}/*"], 200),
        ([f"{pool.replace('nodes', 'other')}/*"], 403),
        ([principal_set("nsksa", "team-b/web")], 200),
        ([principal_set("ksa", "web")], 200),
        ([principal_set("ns", "team")], 403),
        ([principal_set("missing", "x")], 403),
        ([principal("team-b", "web")], 200),
        ([principal("team-b", "web-2")], 403),
        (["allUsers"], 200),
        (["allAuthenticatedUsers"], 403),
        ([f"serviceAccount:{PULL_ACCOUNT}"], 403),
        ([], 403),
    ):
        cloud.set_artifacts("team-b", readers=members)
        assert pull(cloud, "proj/team-b/web/manifests/v1", token).status == status, members


@pytest.mark.parametrize(
    ("condition", "accepted"),
    [
        (None, True),
        ("assertion.sub == 'system:serviceaccount:team-b:web'", True),
        ("assertion.sub == 'system:serviceaccount:team-b:w'", False),
        ("assertion['kubernetes.io']['namespace'] in ['team-a', 'team-b']", True),
        ("assertion['kubernetes.io']['namespace'] in ['team-a']", False),
        ("attribute.ns == 'team-b' && google.subject.startsWith('system:')", True),
        ("attribute.ns == 'team-b' && google.subject.startsWith('user:')", False),
        ("attribute.ns == 'team-a' || attribute.ksa == \"web\"", True),
        ("!(attribute.ns in ['kube-system'])", True),
        ("assertion.missing == 'x'", False),
        ("has(assertion.missing)", False),
        ("assertion.sub", False),
    ],
)
def test_the_condition_decides(cloud: Cloud, condition: str | None, accepted: bool) -> None:
    """A token that the condition does not accept is the client's fault, not the token's."""
    cloud.set_workload_provider(condition=condition)
    if accepted:
        assert access_token(cloud)
    else:
        assert oauth_error(exchange(cloud))[:2] == (400, "unauthorized_client")
        assert not cloud.google.tokens


CLAIMS = {"a": {"b": "x", "n": 3}, "list": ["p", "q"], "t": True}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("assertion.a.b", "x"),
        ("assertion['a']['b']", "x"),
        ('assertion["a"].b + "/" + \'y\'', "x/y"),
        ("assertion.list[1]", "q"),
        ("assertion.list + ['r']", ["p", "q", "r"]),
        ("assertion.a.n == 3", True),
        ("assertion.a.n == '3'", False),
        ("assertion.t == 1", False),
        ("assertion.a.b != 'x'", False),
        ("'p' in assertion.list", True),
        ("'a' in assertion", True),
        ("'z' in {}", None),
        ("'' in []", False),
        ("assertion.a.b.endsWith('x') && 'xyz'.contains('y')", True),
        ("false && assertion.missing", False),
        ("assertion.missing == 'x' && false", False),
        ("assertion.missing == 'x' || true", True),
        ("true ? 'a' : 'b'", "a"),
        ("!true ? 'a' : false ? 'b' : 'c'", "c"),
        ("(true || false) && false", False),
        ("true || false && false", True),
        (r"'it\'s' + '\n'", "it's\n"),
        ("has(assertion.a.b) && !has(assertion.a.c)", True),
        (" assertion . a . b ", "x"),
    ],
)
def test_expressions(text: str, value: Any) -> None:
    """The expressions of set-up guides have the values that CEL gives them."""
    if value is None:
        with pytest.raises(ExpressionError):
            Expression(text, frozenset({"assertion"}))
    else:
        assert Expression(text, frozenset({"assertion"})).value({"assertion": CLAIMS}) == value


@pytest.mark.parametrize(
    "text",
    [
        "assertion.missing", "assertion.list[2]", "assertion.list['p']", "assertion.a['b'].c", "assertion.a.b + 1",
        "'x' in 'xyz'", "assertion.a && true", "true && assertion.missing", "!assertion.a",
        "assertion.a.startsWith('x')",
        "'x'.startsWith(3)", "assertion[true]", "assertion.missing || false",
    ],
)  # fmt: skip
def test_expressions_without_a_value(text: str) -> None:
    """What CEL has no value for is an error of the evaluation, whatever the claims are."""
    with pytest.raises(EvaluationError):
        Expression(text, frozenset({"assertion"})).value({"assertion": CLAIMS})


@pytest.mark.parametrize(
    "text",
    [
        "", "assertion.", "assertion..a", "assertion[", "assertion['a'", "('a'", "'a", "'a' 'b'", "other.sub",
        "assertion.sub.split(':')", "assertion.a.matches('x')", "size(assertion.a)", "1.5", "-1", "a > b", "'a' +",
        "['a' 'b']", "true ? 'a'", r"'\x41'", "{'a': 1}", "assertion.sub)", "[" * 1000, "(" * 100 + "'a'" + ")" * 100,
        "!" * 100 + "true", "google.subject", "assertion.3", "$", "'a' . 'b'",
    ],
)  # fmt: skip
def test_texts_that_are_no_expressions(text: str) -> None:
    """What is not implemented is refused when it is set, not ignored."""
    with pytest.raises(ExpressionError):
        Expression(text, frozenset({"assertion"}))


def test_settings_at_their_limits(cloud: Cloud) -> None:
    """What is just within the limits is taken."""
    longest = "attribute." + "a" * 100
    mapping = {"google.subject": "assertion.sub", longest: "'" + "x" * 2046 + "'"}
    mapping |= {f"attribute.a{number}": "'x'" for number in range(49)}
    condition = "'" + "x" * 4086 + "' != ''"
    cloud.set_workload_provider(mapping=mapping, condition=condition, audiences=["pull.gcr.prod-1", *["a" * 256] * 9])
    assert access_token(cloud)
    with pytest.raises(ValueError, match="can't be mapped"):
        cloud.set_workload_provider(mapping={"google.subject": "assertion.sub", f"{longest}a": "'x'"})


def test_nesting_has_a_limit() -> None:
    """Forty levels of brackets, and no more."""
    for depth, good in ((39, True), (40, False)):
        text = "(" * depth + "'a'" + ")" * depth
        if good:
            assert Expression(text, frozenset()).value({}) == "a"
        else:
            with pytest.raises(ExpressionError, match="too deep"):
                Expression(text, frozenset())
    flat = " + ".join(["('a')"] * 60)
    assert Expression(flat, frozenset()).value({}) == "a" * 60


@pytest.mark.parametrize(
    "settings",
    [
        {"mapping": {}},
        {"mapping": {"attribute.ns": "assertion.sub"}},
        {"mapping": {"google.subject": "assertion.sub", "attribute.Ns": "'x'"}},
        {"mapping": {"google.subject": "assertion.sub", "attribute.": "'x'"}},
        {"mapping": {"google.subject": "assertion.sub", "google.other": "'x'"}},
        {"mapping": {"google.subject": "'" + "x" * 2047 + "'"}},
        {"mapping": {"google.subject": "assertion.sub"} | {f"attribute.a{number}": "'x'" for number in range(51)}},
        {"condition": "'" + "x" * 4095 + "'"},
        {"audiences": ["a"] * 11},
        {"audiences": ["a" * 257]},
        {"audiences": [""]},
        {"issuer": "http://example.test"},
    ],
    ids=lambda settings: str(settings)[:50],
)
def test_settings_that_google_does_not_take(cloud: Cloud, settings: dict[str, Any]) -> None:
    """The limits of a provider's settings are checked when they are set."""
    with pytest.raises(ValueError, match=r"mapped|characters|audiences|issuer|attributes"):
        cloud.set_workload_provider(**settings)
    assert access_token(cloud)

"""Globs against a model, and the promise of the ambiguity rule, proved over every value of a small world."""

from __future__ import annotations

import itertools
import re

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pullpass import patterns

ROLE = "arn:aws:iam::111122223333:role/"
# Legal Kubernetes names, and enough of them that every careless separator meets a pair that it can't keep apart.
NAMESPACES = ("a", "b", "a-b", "a-a", "b-a-b", "a--b")
ACCOUNTS = ("a", "b", "a-b", "a.b", "b.a-b", "a.a", "a-a.b")
CLUSTERS = ("a", "b", "a-b", "b-b")
WORLD = [
    {"namespace": namespace, "service_account": account, "cluster": cluster}
    for namespace, account, cluster in itertools.product(NAMESPACES, ACCOUNTS, CLUSTERS)
]
PLACES = ("{namespace}", "{service_account}", "{cluster}")


def accepted(check: object, pattern: str) -> bool:
    """Whether a check lets a pattern pass."""
    assert callable(check)
    try:
        check(pattern)
    except ValueError:
        return False
    return True


def different(pattern: str) -> list[dict[str, str]]:
    """One set of values for each choice of those that the pattern uses."""
    used = [name for name in WORLD[0] if f"{{{name}}}" in pattern]
    return list({tuple(values[name] for name in used): values for values in WORLD}.values())


def joined(pieces: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Texts of placeholders and pieces in any order."""
    return st.lists(st.sampled_from(PLACES + pieces), min_size=1, max_size=7).map("".join)


templates = joined(("-", "_", ".", "/", "@", "a", "b", "-a", "_b", "=a-", "+"))


@given(templates)
@example("{namespace}-{service_account}")
@example("{namespace}_{namespace}-{cluster}")
@example("{namespace}.{cluster}/{service_account}")
@settings(max_examples=300)
def test_no_two_workloads_become_one_identity(template: str) -> None:
    """Whatever template is accepted, two different sets of names never fill it to the same text."""
    if not accepted(patterns.check_identity, ROLE + template):
        return
    values = different(template)
    rendered = {patterns.render(ROLE + template, each) for each in values}
    assert len(rendered) == len(values)


@given(templates)
@settings(max_examples=300)
def test_a_template_that_collides_is_refused(template: str) -> None:
    """The other way round: a template with a collision in the small world never passes the check."""
    values = different(template)
    if len({patterns.render(template, each) for each in values}) < len(values):
        assert not accepted(patterns.check_unambiguous, template)


wild = joined(("*", "*", "/", "/**/", "-", "_", ".", "a", "_a", "*_"))
fills = st.lists(
    st.sampled_from(["", "a", "-b", "_", "_a", ".b", "a_b_a", "b-a", "/", "a/b", "/a_b/"]), min_size=4, max_size=4
)


@given(wild, st.integers(0, len(WORLD) - 1), fills)
@example("{namespace}-*", 0, ["b", "", "", ""])
@example("*_{namespace}_*", 0, ["b", "b", "", ""])
@example("**/{namespace}/**", 0, ["b", "b", "", ""])
@example("{namespace}_*_{service_account}", 5, ["_b", "", "", ""])
@settings(max_examples=1000)
def test_no_workload_reaches_what_another_may_choose(wildcards: str, chosen: int, filled: list[str]) -> None:
    """Whatever allow pattern is accepted, an identity in it belongs to one set of names only."""
    pattern = ROLE + wildcards
    if not accepted(patterns.check_allow, pattern):
        return
    values = different(pattern)
    identity = patterns.render(pattern, values[chosen % len(values)]).replace("**", "*")
    for text in filled:
        identity = identity.replace("*", text, 1)
    owners = [each for each in values if patterns.allow_matches(pattern, each, identity)]
    assert len(owners) <= 1


@given(st.lists(st.sampled_from(["{namespace}", "{service_account}", "{cluster}", "a", "_", "/", "-"]), max_size=6))
def test_rendering_replaces_and_nothing_else(pieces: list[str]) -> None:
    """A rendered template is the template with each placeholder replaced by its value."""
    values = {"namespace": "team-a", "service_account": "web.v1", "cluster": "prod-1"}
    expected = "".join(values.get(piece[1:-1], piece) if piece.startswith("{") else piece for piece in pieces)
    assert patterns.render("".join(pieces), values) == expected


@given(st.text(alphabet="{}namespcluter_ab/*@", max_size=30) | st.text(max_size=20))
def test_any_text_is_accepted_or_a_value_error(text: str) -> None:
    """The loader meets any text; every check raises a ValueError with a reason or nothing."""
    checks = (
        patterns.check_image_glob,
        patterns.check_service_account_glob,
        patterns.check_identity,
        patterns.check_role,
        patterns.check_allow,
        patterns.check_unambiguous,
    )
    for check in checks:
        try:
            check(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - either outcome is judged


def model_matches(glob: tuple[str, ...], text: tuple[str, ...]) -> bool:
    """The meaning of a glob, spelt out: every way to place every `**` is tried."""
    if not glob:
        return not text
    if glob == ("**",):
        return bool(text)
    if glob[0] == "**":
        return any(model_matches(glob[1:], text[at:]) for at in range(len(text) + 1))
    expression = ".*".join(map(re.escape, glob[0].split("*")))
    return bool(text) and bool(re.fullmatch(expression, text[0])) and model_matches(glob[1:], text[1:])


glob_segments = st.lists(st.sampled_from(["**", "*", "a", "b", "a*", "*b", "ab*ab", "**a"]), min_size=1, max_size=6)
text_segments = st.lists(st.sampled_from(["a", "b", "ab", "abab", "ba"]), min_size=1, max_size=7)


@given(glob_segments, text_segments)
@settings(max_examples=1000)
def test_globs_agree_with_the_model(glob: list[str], text: list[str]) -> None:
    """Trying the last `**` alone again finds a match exactly where trying everything does."""
    assert patterns.glob_matches("/".join(glob), "/".join(text)) == model_matches(tuple(glob), tuple(text))


@given(glob_segments, text_segments, st.integers(0, 7))
def test_a_text_with_an_empty_segment_matches_no_wildcard(glob: list[str], text: list[str], at: int) -> None:
    """A doubled, leading or trailing slash can't slip through a wildcard."""
    text.insert(min(at, len(text)), "")
    assume("*" in "".join(glob))
    assert not patterns.glob_matches("/".join(glob), "/".join(text))


@given(text_segments)
def test_what_is_below_is_not_the_thing_itself(text: list[str]) -> None:
    """`x/**` matches everything below x and never x."""
    name = "/".join(text)
    assert not patterns.glob_matches(f"{name}/**", name)
    assert patterns.glob_matches(f"{name}/**", f"{name}/a")
    assert patterns.glob_matches(f"{name}/**", f"{name}/a/b")
    assert not patterns.glob_matches(f"{name}/**", f"{name}b/a")

"""Globs and templates: what they match, what they become, and which of them are refused."""

from __future__ import annotations

import pytest

from pullpass import patterns

ROLE = "arn:aws:iam::111122223333:role/"
HOST = "111122223333.dkr.ecr.us-west-2.amazonaws.com"
VALUES = {"namespace": "team-a", "service_account": "web.v1", "cluster": "prod-1"}


@pytest.mark.parametrize(
    ("glob", "text"),
    [
        ("a/b", "a/b"),
        ("*/*", "a/b"),
        ("a*/b", "a/b"),
        ("team-*/web", "team-a/web"),
        ("*a*b*", "xaybz"),
        ("h/team-a/**", "h/team-a/app"),
        ("h/team-a/**", "h/team-a/x/y/z"),
        ("**", "a"),
        ("**", "a/b/c"),
        ("**/c", "c"),
        ("**/c", "a/b/c"),
        ("a/**/c", "a/c"),
        ("a/**/c", "a/b/b/c"),
        ("a/**/b/**/c", "a/b/x/b/c"),
        ("a/**/b*/c", "a/b1/x/b2/c"),
        ("a/**/**", "a/b"),
        ("a/**/b/**", "a/b/b/x"),
        ("*.dkr.ecr.us-west-2.amazonaws.com/x", f"{HOST}/x"),
        ("a/**b", "a/xb"),
        ("", ""),
        ("arn:aws:iam::1:role/*", "arn:aws:iam::1:role/x"),
    ],
)
def test_a_glob_matches(glob: str, text: str) -> None:
    """`*` inside a segment, `**` over any number of segments."""
    assert patterns.glob_matches(glob, text)


@pytest.mark.parametrize(
    ("glob", "text"),
    [
        ("a/b", "a/b/c"),
        ("a/*", "a/b/c"),
        ("a/*", "a"),
        ("a/*", "a/"),
        ("*", "a/b"),
        ("*", ""),
        ("**", ""),
        ("h/team-a/**", "h/team-a"),
        ("h/team-a/**", "h/team-a/"),
        ("h/team-a/**", "h/team-ab/x"),
        ("h/team-a/**", "h/team-a//x"),
        ("h/team-a/**", "x/h/team-a/y"),
        ("a/**/c", "a/b"),
        ("a/**/c", "a/c/d"),
        ("a/**/c", "ac"),
        ("a/**/**", "a"),
        ("**/b", "ab"),
        ("a/**/b/**", "a/x/b"),
        ("a/?", "a/b"),
        ("a/[b]*", "a/b"),
        ("a.c/*", "abc/x"),
        ("A/*", "a/b"),
    ],
)
def test_a_glob_does_not_match(glob: str, text: str) -> None:
    """The whole text counts, a trailing `**` wants something below, and nothing else is special."""
    assert not patterns.glob_matches(glob, text)


def test_a_hostile_text_does_not_hang_the_matching() -> None:
    """Trying every place of every `**` and `*` would not end; the last one alone is ever tried again."""
    assert not patterns.glob_matches("**/a/" * 50 + "b", "a/" * 2000 + "a")
    assert not patterns.glob_matches("/".join(["*a*a*a*b"] * 20), "/".join(["a" * 500] * 20))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("pull-{namespace}", "pull-team-a"),
        ("{cluster}/{namespace}/{service_account}", "prod-1/team-a/web.v1"),
        ("{namespace}{namespace}", "team-ateam-a"),
    ],
)
def test_a_template_is_filled_in(template: str, text: str) -> None:
    """Each placeholder is replaced by its value, and what stands around it stays."""
    assert patterns.render(template, VALUES) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("namespace", ""),
        ("namespace", "a.b"),
        ("namespace", "a/b"),
        ("namespace", "*"),
        ("namespace", "A"),
        ("namespace", "{cluster}"),
        ("namespace", "ä"),
        ("service_account", "a_b"),
        ("service_account", "a*"),
        ("service_account", "a\n"),
        ("cluster", "a@b"),
    ],
)
def test_a_value_that_is_no_name_is_not_filled_in(name: str, value: str) -> None:
    """What a token claims can't bring a separator, a wildcard or another placeholder into an identity."""
    with pytest.raises(ValueError, match=f"the {name} is not a name of Kubernetes"):
        patterns.render(f"x{{{name}}}", VALUES | {name: value})


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{pod}", "placeholders are {namespace}, {cluster}, {service_account}"),
        ("{}", "placeholders are"),
        ("{ namespace }", "placeholders are"),
        ("{{namespace}}", "placeholders are"),
        ("{namespace!r}", "placeholders are"),
        ("{namespace", "a { without }"),
        ("namespace}", "a } without {"),
        ("{namespace}}", "a } without {"),
    ],
)
def test_what_is_no_template(template: str, reason: str) -> None:
    """Unknown placeholders and stray braces are refused, by every function that takes a template."""
    for function in (patterns.parse, patterns.check_unambiguous):
        with pytest.raises(ValueError, match=reason):
            function(template)
    with pytest.raises(ValueError, match=reason):
        patterns.render(template, VALUES)


def test_a_template_has_parts() -> None:
    """Literals and placeholders alternate, the last literal has none."""
    assert patterns.parse("a{namespace}b{cluster}") == (("a", "namespace"), ("b", "cluster"), ("", ""))


@pytest.mark.parametrize(
    ("pattern", "identity", "expected"),
    [
        (ROLE + "pull/{namespace}/*", ROLE + "pull/team-a/x", True),
        (ROLE + "pull/{namespace}/*", ROLE + "pull/team-a/x/y", False),
        (ROLE + "pull/{namespace}/**", ROLE + "pull/team-a/x/y", True),
        (ROLE + "pull/{namespace}/*", ROLE + "pull/team-b/x", False),
        (ROLE + "pull/{namespace}/*", ROLE + "pull/team-a/", False),
        (ROLE + "{namespace}_*", ROLE + "team-a_x", True),
        (ROLE + "{namespace}_*", ROLE + "team-a-b_x", False),
        (ROLE + "pull", ROLE + "pull", True),
        (ROLE + "pull", ROLE + "pull2", False),
        (ROLE + "*", ROLE.replace("111122223333", "999999999999") + "x", False),
        ("{namespace}@p.iam.gserviceaccount.com", "team-a@p.iam.gserviceaccount.com", True),
        ("principal", "principal", True),
    ],
)
def test_an_allow_list_entry(pattern: str, identity: str, expected: bool) -> None:
    """An annotation may name what the operator's pattern, filled in for this workload, matches."""
    assert patterns.allow_matches(pattern, VALUES, identity) is expected


@pytest.mark.parametrize(
    "glob",
    [
        f"{HOST}/team-a/**",
        f"{HOST}/team-a/app",
        f"{HOST}/**",
        f"{HOST}/*/app-*/x.y_z",
        "*.dkr.ecr.us-west-2.amazonaws.com/team-a/*",
        "*-docker.pkg.dev/proj/**",
        "gcr.io/**/app",
        "images.example.com:8443/a",
        "*.example.com:8443/a",
    ],
)
def test_a_glob_of_images(glob: str) -> None:
    """A host, literal or in part, and a path below it."""
    patterns.check_image_glob(glob)


@pytest.mark.parametrize(
    ("glob", "reason"),
    [
        ("", "no path"),
        ("gcr.io", "no path"),
        ("**", "no path"),
        ("*/x", "names no host"),
        ("**/x", "names no host"),
        ("/x", "names no host"),
        (":80/x", "names no host"),
        ("gcr.io/", "empty segment"),
        ("gcr.io//x", "empty segment"),
        ("gcr.io/x/", "empty segment"),
        ("gcr.io/a**", "whole segment"),
        ("gcr.io/***", "whole segment"),
        ("gcr.io/A", "other characters"),
        ("gcr.io/a:1", "all tags and digests"),
        ("gcr.io/a@sha256:0", "all tags and digests"),
        ("gcr.io/{namespace}", "other characters"),
        ("gcr.io/a?", "other characters"),
        ("GCR.io/a", "upper case"),
        ("team-a/app", "no registry host"),
        ("a..b/app", "not a host name"),
        ("gcr.io./app", "ends in a dot"),
        ("https://gcr.io/a", "port"),
        ("gcr.io:/a", "port"),
        ("gcr.io:1:2/a", "port"),
        ("gcr.io:65536/a", "port"),
        ("gcr.io:\u0663/a", "port"),
        ("gcr_i.o/a", "not a host name"),
        ("gcr.io:*/a", "host name in lower case"),
        ("*.GCR.io/a", "host name in lower case"),
        ("*.gcr.io:/a", "host name in lower case"),
        ("*.gcr.io:\u0663/a", "host name in lower case"),
        ("a_*.gcr.io/a", "host name in lower case"),
        ("*.*/**", "last two labels"),
        ("*.io/a", "last two labels"),
        ("gcr.i*/a", "last two labels"),
    ],
)
def test_what_is_no_glob_of_images(glob: str, reason: str) -> None:
    """What can match no image, or every host."""
    with pytest.raises(ValueError, match=reason):
        patterns.check_image_glob(glob)


@pytest.mark.parametrize("glob", ["team-a/web", "*/*", "team-*/web.*", "team-a/*"])
def test_a_glob_of_service_accounts(glob: str) -> None:
    """A namespace and a name."""
    patterns.check_service_account_glob(glob)


@pytest.mark.parametrize(
    ("glob", "reason"),
    [
        ("", "NAMESPACE/NAME"),
        ("team-a", "NAMESPACE/NAME"),
        ("a/b/c", "NAMESPACE/NAME"),
        ("**", "NAMESPACE/NAME"),
        ("**/a", "NAMESPACE/NAME"),
        ("a/**", "NAMESPACE/NAME"),
        ("/a", "empty segment"),
        ("a/", "empty segment"),
        ("a/b**", "whole segment"),
        ("A/b", "other characters"),
        ("a.b/c", "other characters"),
        ("a/b_c", "other characters"),
        ("{namespace}/a", "other characters"),
        ("system:serviceaccount:a:b/c", "other characters"),
    ],
)
def test_what_is_no_glob_of_service_accounts(glob: str, reason: str) -> None:
    """What no service account can be called."""
    with pytest.raises(ValueError, match=reason):
        patterns.check_service_account_glob(glob)


@pytest.mark.parametrize(
    "template",
    [
        "principal",
        "node",
        "anonymous",
        "refuse",
        ROLE + "pull",
        ROLE + "pull-{namespace}",
        ROLE + "{cluster}/{namespace}/{service_account}",
        ROLE + "{namespace}_{service_account}",
        ROLE + "{namespace}+x@{service_account}=y",
        ROLE + "{namespace}.{cluster}",
        ROLE.replace("aws:", "aws-cn:") + "x",
        "pull@proj.iam.gserviceaccount.com",
        "pull-{namespace}@proj.iam.gserviceaccount.com",
    ],
)
def test_a_template_of_identities(template: str) -> None:
    """An identity, or one in which the two ends of every name can be told."""
    patterns.check_identity(template)


AMBIGUOUS = "must be a character that no name has"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("", "neither an IAM role ARN"),
        ("Principal", "neither an IAM role ARN"),
        ("{namespace}", "neither an IAM role ARN"),
        ("user@example.com", "neither an IAM role ARN"),
        ("pull@{namespace}.iam.gserviceaccount.com", "after the @ must be literal"),
        ("pull-*@proj.iam.gserviceaccount.com", "no glob"),
        ("{namespace}-{cluster}@proj.iam.gserviceaccount.com", AMBIGUOUS),
        ("arn:aws:iam::111122223333:user/x", "IAM role"),
        ("arn:aws:iam::{cluster}:role/x", "12 digits"),
        ("arn:{cluster}:iam::111122223333:role/x", "partition"),
        ("arn:aws:iam::111122223333:{cluster}/x", "IAM role"),
        (ROLE + "*", "no glob"),
        (ROLE + "{pod}", "placeholders are"),
        (ROLE + "{namespace}{service_account}", AMBIGUOUS),
        (ROLE + "{namespace}-{service_account}", AMBIGUOUS),
        (ROLE + "{namespace}.{service_account}", AMBIGUOUS),
        (ROLE + "{service_account}.{namespace}", AMBIGUOUS),
        (ROLE + "{namespace}-in-{cluster}", AMBIGUOUS),
        (ROLE + "{namespace}_{service_account}-{cluster}", AMBIGUOUS),
        (ROLE + "x/{namespace}-{cluster}", AMBIGUOUS),
        (ROLE + "x\n{namespace}", "role name"),
        (ROLE + "{namespace}//x", "empty segment"),
    ],
)
def test_what_is_no_template_of_identities(template: str, reason: str) -> None:
    """Ambiguous templates, accounts that a namespace would choose, and what is no identity."""
    with pytest.raises(ValueError, match=reason):
        patterns.check_identity(template)


def test_a_second_hop_is_a_role() -> None:
    """`via` takes the same templates as an identity, of roles only."""
    patterns.check_role(ROLE + "{namespace}")
    for template, reason in (
        ("pull@proj.iam.gserviceaccount.com", "not of the form"),
        (ROLE + "a*", "no glob"),
        (ROLE + "{namespace}-{cluster}", AMBIGUOUS),
    ):
        with pytest.raises(ValueError, match=reason):
            patterns.check_role(template)


@pytest.mark.parametrize(
    "pattern",
    [
        "principal",
        ROLE + "pull",
        ROLE + "*",
        ROLE + "**",
        ROLE + "pull-*-x*",
        ROLE + "pull/{namespace}/*",
        ROLE + "pull/{namespace}/**",
        ROLE + "**/{namespace}",
        ROLE + "*/{namespace}_*",
        ROLE + "*_{namespace}",
        ROLE + "{namespace}_*_{service_account}",
        ROLE + "**/x/**/{namespace}",
        ROLE + "{namespace}/**/x",
        "*@proj.iam.gserviceaccount.com",
        "{namespace}@proj.iam.gserviceaccount.com",
    ],
)
def test_an_entry_fit_for_an_allow_list(pattern: str) -> None:
    """Wildcards, as long as no workload can reach what another's names stand in."""
    patterns.check_allow(pattern)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", "neither an IAM role ARN"),
        ("*", "neither an IAM role ARN"),
        ("**", "neither an IAM role ARN"),
        ("node", "neither an IAM role ARN"),
        ("anonymous", "neither an IAM role ARN"),
        ("refuse", "neither an IAM role ARN"),
        ("arn:*", "not of the form"),
        ("arn:aws:iam::*:role/x", "12 digits"),
        ("arn:*:iam::111122223333:role/x", "partition"),
        ("arn:aws:iam::111122223333:*/x", "IAM role"),
        ("x@*.iam.gserviceaccount.com", "after the @ must be literal"),
        ("x@{namespace}.iam.gserviceaccount.com", "after the @ must be literal"),
        (ROLE + "a**", "whole segment"),
        (ROLE + "**b/c", "whole segment"),
        (ROLE + "{namespace}*", r"between {namespace} and \* there must be"),
        (ROLE + "*{namespace}", AMBIGUOUS),
        (ROLE + "pull-{namespace}-*", AMBIGUOUS),
        (ROLE + "*-{namespace}", AMBIGUOUS),
        (ROLE + "{service_account}.*", AMBIGUOUS),
        (ROLE + "{namespace}_*-{service_account}", AMBIGUOUS),
        (ROLE + "*_{namespace}_*", r"{namespace} stands between two \*"),
        (ROLE + "**/{namespace}/**", r"{namespace} stands between two \*\*"),
        (ROLE + "**/x-{namespace}/**/y", r"{namespace} stands between two \*\*"),
        (ROLE + "{namespace", "a { without }"),
    ],
)
def test_an_entry_unfit_for_an_allow_list(pattern: str, reason: str) -> None:
    """Open accounts and projects, and patterns in which one workload reaches another's identities."""
    with pytest.raises(ValueError, match=reason):
        patterns.check_allow(pattern)


@pytest.mark.parametrize("partition", ["*ws", "{namespace}ws"])
def test_the_partition_is_literal_even_where_a_sample_would_fit(partition: str) -> None:
    """A pattern that some value would make right is refused all the same."""
    with pytest.raises(ValueError, match="partition and account must be literal"):
        patterns.check_allow(f"arn:{partition}:iam::111122223333:role/x")

"""The kubelet's pattern matcher: every result below was produced by kubernetes v1.36.3 built with Go 1.26."""

from __future__ import annotations

import pytest

from pullpass.registry import ECR, Target, auth_key, clean_auth_key, host_matches
from pullpass.registry.kubelet import star_matches

ECR_PATTERN = "*.dkr.ecr.*.amazonaws.com"


@pytest.mark.parametrize(
    ("pattern", "image"),
    [
        ("*.kubernetes.io", "prefix.kubernetes.io"),
        ("r.io:5000", "r.io:5000/a"),
        ("r.io/pong", "r.io/pongz/x"),
        ("r.io/pong", "r.io/pong"),
        (ECR_PATTERN, "1.dkr.ecr.eu-west-1.amazonaws.com/x"),
        ("*.*", "r.io/a"),
        ("*", "r/a"),
        ("*:5000", "[::1]:5000/x"),
        ("[::1]:5000", "[::1]:5000/x"),
        ("[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]:80/x"),
        ("[fe80::1%25eth0]:80", "[fe80::1%25eth0]:80/x"),
        ("[fe80::1%25%41%20%25]:80", "[fe80::1%25A%20%25]:80/x"),
        ("*", "[::1]/x"),
        ("app*.k8s.io", "app1.k8s.io/x"),
        ("app*.k8s.io", "app.k8s.io/x"),
        ("*-docker.pkg.dev", "us-docker.pkg.dev/p/r/i"),
        ("docker.*.rep.pkg.dev", "docker.us-east1.rep.pkg.dev/p/r/i"),
        ("r.io/", "r.io/a"),
        ("r.io?x", "r.io/a"),
        ("r.io#x", "r.io/a"),
        ("r.io/a?b/c#d", "r.io/a/x"),
        ("r.io#a#b", "r.io/a"),
        ("u@r.io", "r.io/a"),
        ("u:p@r.io", "r.io/a"),
        ("u@v@r.io", "r.io/a"),
        ("r.io/%61", "r.io/abc"),
        ("r.io:", "r.io/a"),
        ("ä.io", "%C3%A4.io/a"),
        ("[fe80::1%2541]:80", "[fe80::1%2541]:80/x"),
        ("[fe80::1%25\x80]:80", "[fe80::1%25\x80]:80/x"),
        ("r.io/a b", "r.io/a b/c"),
        ("%25.io", "%25.io/a"),
        ("%C3", "%C3/a"),
        ("\x80.io", "\x80.io/a"),
        ("r.io/ä", "r.io/äb"),
        (".*:80", ".x:80/a"),
        ("]*", "]x:80"),
        ("", ""),
        ("/a", "/ab"),
    ],
)
def test_a_pattern_that_matches(pattern: str, image: str) -> None:
    """Label by label, port as text, path as a raw prefix."""
    assert host_matches(pattern, image)


@pytest.mark.parametrize(
    ("pattern", "image"),
    [
        ("*.kubernetes.io", "kubernetes.io"),
        ("*.io", "a.b.io"),
        ("kubernetes.io", "kubernetes.io:80"),
        ("kubernetes.io:80", "kubernetes.io"),
        ("r.io:05", "r.io:5/a"),
        (ECR_PATTERN, "1.dkr.ecr.cn-north-1.amazonaws.com.cn/x"),
        ("app?.k8s.io", "app1.k8s.io/x"),
        ("R.io", "r.io/a"),
        ("r.io/*", "r.io/a"),
        ("*", "r.io/a"),
        ("[::1]", "[::1]/x"),
        ("[::1]:5000", "[::1]:5001/x"),
        ("r.io/a/", "r.io/a"),
        ("https://r.io", "r.io/a"),
        ("", "r.io/a"),
        ("ab*ba", "aba"),
        ("app**x", "app"),
    ],
)
def test_a_pattern_that_does_not_match(pattern: str, image: str) -> None:
    """No glob crosses a dot, a port or the path, and nothing is folded."""
    assert not host_matches(pattern, image)


@pytest.mark.parametrize(
    "pattern",
    [
        "app[12].k8s.io",
        "[12]",
        "[::1",
        "[1.2.3.4]",
        "[*]:80",
        "r.io:*",
        "r.io:80:80",
        "r.io:8 0",
        "[::1]x",
        "[::1]:x",
        "[::1%41]",
        "[::1%25]:80",
        "[::1%25a^]",
        "[fe80::1%25a{b]:80",
        "[fe80::1%25a%7B]:80",
        "[fe80::1%25%C3%A4]:80",
        "[::1%25%2f]",
        "[::1%25%]",
        "r.io\\x",
        "r^.io",
        "r .io",
        "%41.io",
        "r%2Fio",
        "r.io/%",
        "r.io/%4",
        "r.io/%zz",
        "r.io#%",
        "ä%",
        "r.io/a\x00",
        "r.io/a\x7f",
        "r.io?\n",
        "u{}@r.io",
        "u%@r.io",
        "r{.io",
    ],
)
def test_a_pattern_that_can_not_be_parsed(pattern: str) -> None:
    """The kubelet does not start with such a pattern, and an image like this matches nothing."""
    with pytest.raises(ValueError, match=r"."):
        host_matches(pattern, "r.io/a")
    with pytest.raises(ValueError, match=r"."):
        host_matches("r.io", pattern)


@pytest.mark.parametrize(
    ("key", "clean"),
    [
        ("r.io", "r.io"),
        ("https://r.io", "r.io"),
        ("http://r.io", "r.io"),
        ("https://r.io/", "r.io"),
        ("r.io/v1/", "r.io"),
        ("r.io/v2/", "r.io"),
        ("r.io/v2", "r.io/v2"),
        ("r.io/v3/a", "r.io/v3/a"),
        ("r.io/v1/a", "r.io/a"),
        ("r.io/v2/v2/a", "r.io/v2/a"),
        ("r.io/a/v2/b", "r.io/a/v2/b"),
        ("u:p@r.io/a?b#c", "r.io/a"),
        ("r.io:5000/a", "r.io:5000/a"),
        ("r.io/%C3%A4", "r.io/ä"),
        ("HTTPS://r.io", "HTTPS://r.io"),
        ("https://https://r.io", "https://r.io"),
    ],
)
def test_the_kubelet_cleans_a_key(key: str, clean: str) -> None:
    """Scheme, user information, query, fragment and the registry API's prefix go."""
    assert clean_auth_key(key) == clean


@pytest.mark.parametrize("key", ["r.io:x", "https://r.io:x", "r{.io", "r.io/%", "r.io\n", "\ud800"])
def test_the_kubelet_skips_a_key_it_can_not_parse(key: str) -> None:
    """Where it logs and goes on, we raise."""
    with pytest.raises(ValueError, match=r"."):
        clean_auth_key(key)


@pytest.mark.parametrize(
    ("repository", "key"),
    [
        ("app", "r.io:5000/app"),
        ("team-a/app", "r.io:5000/team-a/app"),
        ("v1/app", "r.io:5000"),
        ("v2/app", "r.io:5000"),
        ("v1", "r.io:5000"),
        ("v2", "r.io:5000"),
        ("v2/v2/v2", "r.io:5000"),
        ("v3/app", "r.io:5000/v3/app"),
        ("v2x/app", "r.io:5000/v2x/app"),
        ("a/v2/app", "r.io:5000/a/v2/app"),
        ("a__b/c--d.e", "r.io:5000/a__b/c--d.e"),
    ],
)
def test_the_auth_key_matches_its_image(repository: str, key: str) -> None:
    """Cleaned by the kubelet, the key still matches; where the path would be damaged, the host alone is the key."""
    target = Target(ECR, "r.io:5000", repository, "111122223333", "us-west-2", "aws")
    assert auth_key(target) == key
    assert host_matches(clean_auth_key(key), target.image)
    assert not host_matches(clean_auth_key(key), target.image.replace(":5000", ""))
    assert not host_matches(clean_auth_key(key), f"other.{target.image}")


def test_the_whole_image_would_not_do_as_a_key() -> None:
    """What makes the exception for v1 and v2 necessary."""
    image = "r.io/v2/app"
    assert not host_matches(clean_auth_key(image), image)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("a*", "a", True),
        ("*a", "ba", True),
        ("a*a", "a", False),
        ("a*", "ba", False),
        ("*a", "ab", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "abbc", True),
        ("a*b*c", "acb", False),
        ("a*bc*c", "abc", False),
        ("**a**", "xax", True),
        ("a?", "ab", False),
    ],
)
def test_one_wildcard(pattern: str, text: str, expected: bool) -> None:
    """Only `*` is special, and it may stand for nothing."""
    assert star_matches(pattern, text) is expected


def test_a_hostile_pattern_ends() -> None:
    """Trying every way to place the stars would not end before the sun does."""
    assert not star_matches("a*" * 200 + "b", "a" * 4000)
    assert not star_matches("*".join("ab" * 200) + "c", "ab" * 2000)

"""Which credential the keyring finds for which image.

Upstream: k8s.io/kubernetes `pkg/credentialprovider/keyring.go` (`Add`, `URLsMatch`, `Lookup`), with the vectors of its
`keyring_test.go` among those here. The same matcher decides about `matchImages` (`plugin.go`, `isImageAllowed`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.scripted import provider, response

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.kubelet import Kubelet
    from conformance.rig import Rig

MATCHES = [
    # keyring_test.go, TestURLsMatch
    ("*.kubernetes.io", "prefix.kubernetes.io", True),
    ("prefix.*.io", "prefix.kubernetes.io", True),
    ("prefix.kubernetes.*", "prefix.kubernetes.io", True),
    ("*-good.kubernetes.io", "prefix-good.kubernetes.io", True),
    ("*.kubernetes.io/blah", "prefix.kubernetes.io/blah", True),
    ("*.kubernetes.io", "kubernetes.io", False),
    ("*.kubernetes.io", "a.b.kubernetes.io", False),
    ("*.io", "a.b.io", False),
    ("kubernetes.io", "kubernetes.com", False),
    ("*kubernetes.io", "a.kubernetes.io", False),
    ("kubernetes.io", "kubernetes.io:80", False),
    ("kubernetes.io:80", "kubernetes.io:80/a", True),
    ("kubernetes.io:81", "kubernetes.io:80/a", False),
    # Paths are raw prefixes: neither segments nor globs.
    ("r.io/app", "r.io/app", True),
    ("r.io/app", "r.io/app2", True),
    ("r.io/app", "r.io/app/sub", True),
    ("r.io/app/", "r.io/app", False),
    ("r.io/app2", "r.io/app", False),
    ("r.io/", "r.io/app", True),
    ("r.io/*", "r.io/app", False),
    ("r.io/App", "r.io/app", False),
    ("r.io/a%70p", "r.io/app", True),
    ("r.io/%61pp/x", "r.io/app/x", True),
    # Hosts: labels, each with a glob of which only the star is left.
    ("*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com/x", True),
    ("*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.cn-north-1.amazonaws.com.cn/x", False),
    ("*.dkr.ecr.*.amazonaws.com", "1.dkr-ecr.eu-west-1.on.aws/x", False),
    ("app?.k8s.io", "app1.k8s.io/x", False),
    ("R.io", "r.io/a", False),
    ("r.io?x", "r.io/a", True),
    ("u@r.io", "r.io/a", True),
    ("*", "r.io/a", False),
    ("*.*", "r.io/a", True),
    ("*", "r/a", True),
    ("*:5000", "[::1]:5000/x", True),
    ("[::1]:5000", "[::1]:5000/x", True),
    ("[::1]", "[::1]/x", False),
    ("r.io:05", "r.io:5/a", False),
    ("r.io:", "r.io/a", True),
    ("https://r.io", "r.io/a", False),
    ("", "r.io/a", False),
    # Not parsable.
    ("app[12].k8s.io", "app1.k8s.io/x", None),
    ("r.io:*", "r.io:5000/a", None),
    ("a b.io", "a.io/x", None),
    ("r%41.io", "rA.io/x", None),
]


def test_matcher(new_kubelet: Callable[..., Kubelet]) -> None:
    """The matcher on its vectors; None is a pattern that can't be parsed."""
    kubelet = new_kubelet()
    answers = [(pattern, image, kubelet.match(pattern, image)) for pattern, image, _ in MATCHES]
    assert answers == MATCHES


def found(node: Rig, keys: list[str], repository: str) -> list[str]:
    """Which keys of an answer the keyring uses for a repository, in order."""
    node.plugin.answer(response({key: (key, "p") for key in keys}))
    return [c.username for c in node.kubelet.lookup(repository).credentials]


AWKWARD = [
    # Add() drops a leading /v1 or /v2 of a key: for such repositories only the host alone works.
    ("r.io/v1/app", ["r.io/v1/app"], []),
    ("r.io/v2/app", ["r.io/v2/app"], []),
    ("r.io/v2/app", ["r.io"], ["r.io"]),
    ("r.io/v1/app", ["r.io/v1"], ["r.io/v1"]),
    ("r.io/v1", ["r.io/v1"], ["r.io/v1"]),
    ("r.io/v2", ["r.io/v2/"], ["r.io/v2/"]),
    ("r.io/v2app/x", ["r.io/v2app/x"], ["r.io/v2app/x"]),
    ("r.io/v3/app", ["r.io/v3/app"], ["r.io/v3/app"]),
    ("r.io/a/v2/b", ["r.io/a/v2/b"], ["r.io/a/v2/b"]),
    ("r.io/v2/v2/app", ["r.io/v2/v2/v2/app"], ["r.io/v2/v2/v2/app"]),
    # ... and the key of one repository is then that of another.
    ("r.io/app", ["r.io/v2/app"], ["r.io/v2/app"]),
    # Prefix neighbours.
    ("r.io/app2", ["r.io/app"], ["r.io/app"]),
    ("r.io/app", ["r.io/app2"], []),
    ("r.io/app", ["r.io/app/"], []),
    ("r.io/app/x", ["r.io/app/"], ["r.io/app/"]),
    # Percent signs in a key are decoded; other characters are literal, and the case counts.
    ("r.io/app", ["r.io/a%70p"], ["r.io/a%70p"]),
    ("r.io/team/app", ["r.io/team%2Fapp"], ["r.io/team%2Fapp"]),
    ("r.io/app", ["r.io/App"], []),
    ("r.io/app", ["R.io/app"], []),
    ("r.io/a.b-c__d", ["r.io/a.b-c__d"], ["r.io/a.b-c__d"]),
    ("r.io/app", ["*.io/app"], ["*.io/app"]),
    ("r.io/app", ["r.io/*"], []),
    # Cleaning.
    ("r.io/app", ["https://r.io/app"], ["https://r.io/app"]),
    ("r.io/app", ["http://r.io"], ["http://r.io"]),
    ("r.io/app", ["HTTPS://r.io"], []),
    ("r.io/app", ["r.io/"], ["r.io/"]),
    ("r.io/app", ["https://r.io/v2/"], ["https://r.io/v2/"]),
    ("r.io/app", ["u:p@r.io/app?q=1#f"], ["u:p@r.io/app?q=1#f"]),
    ("r.io:5000/app", ["r.io"], []),
    ("r.io:5000/app", ["r.io:5000"], ["r.io:5000"]),
    ("r.io/app", ["r.io:443"], []),
    # Order: longer paths first, a star last; all that match are used.
    ("r.io/a/b", ["*.io", "r.io", "r.io/a", "r.io/a/b"], ["r.io/a/b", "r.io/a", "r.io", "*.io"]),
]


@pytest.mark.parametrize(("repository", "keys", "expected"), AWKWARD)
def test_auth_keys(rig: Callable[..., Rig], repository: str, keys: list[str], expected: list[str]) -> None:
    """An `auth` key is cleaned, then matched as host labels and a raw path prefix."""
    node = rig(provider(match=["r.io", "r.io:5000"]))
    assert found(node, keys, repository) == expected


def test_unparsable_key_is_logged_and_the_others_count(rig: Callable[..., Rig]) -> None:
    """One bad key costs itself only."""
    node = rig()
    node.plugin.answer(response({"r.io:x": ("bad", "p"), "r.io": ("good", "p")}))
    seen = node.kubelet.lookup("r.io/app")
    assert [c.username for c in seen.credentials] == ["good"]
    assert [line.message.strip() for line in seen.errors] == [
        'Entry "r.io:x" in dockercfg invalid (parse "https://r.io:x": invalid port ":x" after host), ignoring'
    ]


def test_keys_that_clean_to_one_give_both_credentials(rig: Callable[..., Rig]) -> None:
    """`r.io` and `https://r.io` are one key; both credentials are tried, in no certain order."""
    node = rig()
    assert sorted(found(node, ["r.io", "https://r.io"], "r.io/app")) == ["https://r.io", "r.io"]


def test_every_matching_provider_is_asked_in_order(rig: Callable[..., Rig]) -> None:
    """No provider's answer stops the next from being asked; one that fails costs itself only."""
    node = rig(provider("a"), provider("b"), provider("c", match=["other.io"]), provider("d"))
    node.plugins[0].answer(response({"r.io": ("a", "p")}))
    node.plugins[1].answer("", status=1, stderr="no")
    node.plugins[3].answer(response({"r.io": ("d", "p")}))
    seen = node.kubelet.lookup("r.io/app")
    assert [c.username for c in seen.credentials] == ["a", "d"]
    assert [e.provider for e in seen.executions] == ["a", "b", "d"]
    assert node.plugins[2].runs == []


def test_longer_keys_win_over_the_order_of_providers(rig: Callable[..., Rig]) -> None:
    """The index is sorted over all providers; only within one key their order counts."""
    node = rig(provider("a"), provider("b"))
    node.plugins[0].answer(response({"r.io": ("a", "p")}))
    node.plugins[1].answer(response({"r.io/app": ("b", "p"), "r.io": ("b-host", "p")}))
    assert [c.username for c in node.kubelet.lookup("r.io/app").credentials] == ["b", "a", "b-host"]


@pytest.mark.parametrize(
    ("repository", "key", "expected"),
    [
        ("docker.io/library/busybox", "index.docker.io", True),
        ("docker.io/library/busybox", "https://index.docker.io/v1/", True),
        ("localhost/app", "index.docker.io", True),
        ("r.io/app", "index.docker.io", False),
    ],
)
def test_docker_hub(rig: Callable[..., Rig], repository: str, key: str, expected: bool) -> None:
    """Credentials for `index.docker.io` are a last resort for names that look like Docker Hub's, localhost included."""
    node = rig(provider(match=["docker.io", "localhost", "r.io"]))
    assert found(node, [key], repository) == ([key] if expected else [])


@pytest.mark.parametrize(
    ("username", "password", "digest"),
    [
        # secrets_test.go, Test_MakeDockerKeyring
        ("user", "password", "a55436fc140d516560d072c5fe8700385ce9f41629abf65c1edcbcb39fac691d"),
        ("user", 'p<a>s&s"w\\d', "1e7ecd4d0a211ca0dfa328a6c7ee20ed4135de0f59da7d997c9a52662a3da21a"),
        ("AWS", "t\u00f6k\u2028en", "df141430c0f8bf8e5b5f8d8120063ad7af44d30219dbe5719182405817512210"),
        ("", "password", "56dd2717e1906a4595352da9c2759fec93f7136e1ec97374791f068994b6134b"),
        ("", "", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
    ],
)
def test_hash(rig: Callable[..., Rig], username: str, password: str, digest: str) -> None:
    """The hash the kubelet gives a credential (`keyring.go`, `hashAuthConfig`)."""
    node = rig()
    node.plugin.answer(response({"r.io": (username, password)}))
    assert [c.hash for c in node.kubelet.lookup("r.io/app").credentials] == [digest]

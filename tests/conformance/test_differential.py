"""What pullpass has written after the kubelet's code, compared with that code on many inputs.

pullpass matches patterns (`registry.host_matches`), cleans `auth` keys (`registry.clean_auth_key`), chooses its own key
(`registry.auth_key`), checks the form of an image (`registry.match`) and writes responses (`request.render`). Upstream:
k8s.io/kubernetes `pkg/credentialprovider/keyring.go`, `pkg/util/parsers/parsers.go` and
`pkg/credentialprovider/plugin/plugin.go`.

Inputs are drawn from a fixed seed over pieces that matter to the code, so that a run says the same thing each time.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from conformance.installed import HOST
from conformance.scripted import provider, response
from pullpass import registry, request
from pullpass.errors import PullpassError
from pullpass.exchange import Credential
from pullpass.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.kubelet import Kubelet
    from conformance.rig import Rig

SEED = 20_250_131
PIECES = (
    "*", "*", "r", "app", "R", "io", "x1", ".", ".", ".", "/", "/", "/", ":", ":80", ":5000", ":05", "[", "]", "[::1]",
    "::1", "%25", "%25eth0", "?", "#", "@", "u:p@", "%41", "%2f", "%2F", "%25", "%", "%zz", "%c3%a4", "\u00e4",
    "\u4e2d", "-", "_", "~", "!", "$", "&", "'", "(", ")", "+", ",", ";", "=", '"', "<", ">", "^", "`", "{", "|", "\\",
    " ", "\t", "\x7f", "v1/", "v2/", "/v1/", "/v2/", "https://", "http://", "HTTP://", "..", "//",
)  # fmt: skip
HOSTS = ("r.io", "R.io", "app.r.io", "r.io:80", "r.io:5000", "[::1]:80", "[::1]", "x1", "a.b.c.d", "\u00e4.io")
PATHS = ("", "/", "/app", "/app/x1", "/v1/app", "/v2/app", "/v2", "/a//b", "/%41", "/\u00e4", "/App", "/*")


def texts(number: int, hosts: Sequence[str] = HOSTS) -> list[tuple[str, str]]:
    """Pairs of a pattern and an image: noise, brackets around noise, and an image's own name changed a little."""
    draw = random.Random(SEED)
    pairs = []
    for _ in range(number):
        image = draw.choice(hosts) + draw.choice(PATHS)
        kind = draw.random()
        if kind < 0.2:
            pattern = "".join(draw.choices(PIECES, k=draw.randint(0, 7)))
        elif kind < 0.3:
            pattern = f"[fe80::{''.join(draw.choices(PIECES, k=draw.randint(0, 5)))}]{draw.choice(('', ':80', '/app'))}"
        else:
            pattern = image
            for _ in range(draw.randint(0, 3)):
                at, length = draw.randint(0, len(pattern)), draw.randint(0, 2)
                pattern = pattern[:at] + draw.choice(("", *PIECES)) + pattern[at + length :]
        if draw.random() < 0.1:
            image = "".join(draw.choices(PIECES, k=draw.randint(1, 6)))
        pairs.append((pattern, image))
    return pairs


def ours(pattern: str, image: str) -> bool | None:
    """Pullpass's matcher, with None for what it can't parse."""
    try:
        return registry.host_matches(pattern, image)
    except ValueError:
        return None


def test_matcher(new_kubelet: Callable[..., Kubelet]) -> None:
    """Yes, no, or not parsable: the same for every pair."""
    kubelet = new_kubelet()
    pairs = texts(20_000)
    theirs = [kubelet.match(pattern, image) for pattern, image in pairs]
    differences = [
        (pattern, image, theirs_)
        for (pattern, image), theirs_ in zip(pairs, theirs, strict=True)
        if ours(pattern, image) is not theirs_
    ]
    assert differences == []
    # Otherwise this would be a test of three quarters of nothing.
    assert min(theirs.count(True), theirs.count(False), theirs.count(None)) > 2_000


def test_auth_keys(rig: Callable[..., Rig]) -> None:
    """A key is found for an image by the keyring when, cleaned, it matches by ours; what we can't clean it skips."""
    node = rig(provider(match=["r.io", "R.io", "r.io:80", "app.r.io", "a.b.c.d"]))
    images = [f"{host}{path}" for host in ("r.io", "r.io:80", "app.r.io") for path in ("/app", "/v2/app", "/app/x1")]
    found_at_all = 0
    for image in images:
        keys = sorted({pattern for pattern, _ in texts(4_000, ("r.io", "r.io:80", "app.r.io"))})
        node.plugin.answer(response({key: (key, "p") for key in keys}))
        found = {c.username for c in node.kubelet.lookup(image).credentials}
        expected = set()
        for key in keys:
            try:
                if ours(registry.clean_auth_key(key), image):
                    expected.add(key)
            except ValueError:
                continue
        assert found == expected
        found_at_all += len(found)
    assert found_at_all > 5 * len(images)


REPOSITORIES = (
    "app", "v1", "v2", "v1/app", "v2/app", "v2/v2/app", "v1/v2/x", "v2app/x", "v10/x", "a/v2/b", "a.b-c__d/e",
    "a/b/c/d", "0/1", "library/x", "team-a/manifests/v1",
)  # fmt: skip


@pytest.mark.parametrize(
    "host",
    [HOST, "111122223333.dkr-ecr.us-west-2.on.aws", "public.ecr.aws", "europe-docker.pkg.dev", "gcr.io", "eu.gcr.io"],
)
def test_our_own_key(rig: Callable[..., Rig], host: str) -> None:
    """The key that pullpass answers with is found for the image it was asked about, whatever that is called."""
    node = rig(provider(match=[host]))
    for name in REPOSITORIES:
        image = f"{host}/{name}"
        key = registry.auth_key(registry.match(image))
        node.plugin.answer(response({key: ("AWS", name)}))
        assert [c.password for c in node.kubelet.lookup(image).credentials] == [name]


TROUBLESOME = (
    "plain", 'quo"te', "back\\slash", "<&>", "\u2028\u2029", "t\u00f6k\u4e2d\U0001f511", "tab\tnew\nline\r\x00\x1f\x7f",
    "\ufffd", "\ufeff", " ", "=" * 4096, "a:b", "'", "\u0080", "{}[],:",
)  # fmt: skip


@pytest.mark.parametrize("text", TROUBLESOME)
def test_response(rig: Callable[..., Rig], text: str) -> None:
    """User name and password arrive at the keyring as they were given to `render`, and so does the duration."""
    image = f"{HOST}/team-a/app"
    node = rig(provider(match=[HOST]))
    credential = Credential(text, Secret(text[::-1]), 0.0, 0.0, "", "", ())
    node.plugin.answer(request.render(registry.match(image), credential, 601))
    seen = node.kubelet.lookup(image)
    assert seen.errors == []
    assert [(c.username, c.password) for c in seen.credentials] == [(text, text[::-1])]
    answer = seen.executions[0].response
    assert answer is not None
    assert (answer.cache_key_type, answer.cache_s) == ("Image", 601.0)


@pytest.mark.parametrize("seconds", [0, 1, 59, 3_600, 86_400, 9_000_000_000])
def test_durations(rig: Callable[..., Rig], seconds: int) -> None:
    """Whole seconds up to what a Go duration holds, 292 years; an answer without a credential as well."""
    node = rig(provider(match=[HOST]))
    node.plugin.answer(request.render(registry.match(f"{HOST}/team-a/app"), None, seconds))
    answer = node.kubelet.lookup(f"{HOST}/team-a/app").executions[0].response
    assert answer is not None
    assert (answer.cache_s, answer.auth) == (float(seconds), {})


def takes(name: str) -> bool:
    """Whether pullpass takes an image's name."""
    try:
        registry.match(name)
    except PullpassError:
        return False
    return True


def test_images(new_kubelet: Callable[..., Kubelet]) -> None:
    """Every name that the kubelet's parser gives out for an ECR image is one that pullpass takes, and no other.

    A name is the kubelet's own when parsing it gives it back: with a tag, a digest or a blank it would not.
    """
    kubelet = new_kubelet()
    draw = random.Random(SEED)
    pieces = (
        "a",
        "b0",
        "/",
        "/",
        ".",
        "-",
        "--",
        "_",
        "__",
        "___",
        "A",
        ":",
        ":v1",
        "@",
        "%41",
        " ",
        "..",
        "\u00e4",
        "v2",
    )
    taken = 0
    for _ in range(3_000):
        name = f"{HOST}/ab{''.join(draw.choices(pieces, k=draw.randint(0, 5)))}"
        parsed = kubelet.parse(name)
        theirs = not parsed.error and parsed.repository == name
        assert takes(name) == theirs, name
        taken += theirs
    assert taken > 300

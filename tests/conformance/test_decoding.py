"""What the kubelet makes of a plugin's output, and what a plugin gets as input.

Upstream: k8s.io/kubernetes `pkg/credentialprovider/plugin/plugin.go`, `ExecPlugin`, `encodeRequest`, `decodeResponse`;
types: k8s.io/kubelet `pkg/apis/credentialprovider/v1/types.go`; the strict decoder: k8s.io/apimachinery
`pkg/runtime/serializer/json/json.go`; durations: `pkg/apis/meta/v1/duration.go`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from conformance.kubelet import Pod
from conformance.scripted import EXEC_API, provider, response, token_attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.rig import Rig

SECRET = "a-password-nobody-may-read"
GOOD = response({"r.io": ("user", SECRET)}, duration="10m")


def changed(**members: Any) -> str:
    """The good response with members replaced; None removes one (for JSON null write the text yourself)."""
    document = {**json.loads(GOOD), **members}
    return json.dumps({key: value for key, value in document.items() if value is not None})


def replaced(old: str, new: str) -> str:
    """The good response with a piece of its text replaced."""
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


# The four places where plugin.go rejects an answer.
NOT_ONE_DOCUMENT = "error reading GVK from response"
OTHER_VERSION = "apiVersion from credential plugin response did not match expected apiVersion"
NOT_STRICT = "error decoding credential provider plugin response from stdout"
BAD_KEY_TYPE = "credential provider plugin did not return a valid cacheKeyType"

REJECTED = [
    # One JSON document: json.DefaultMetaFactory.Interpret.
    pytest.param(GOOD + "{}", NOT_ONE_DOCUMENT, id="second-document"),
    pytest.param(GOOD + "done", NOT_ONE_DOCUMENT, id="trailing-text"),
    pytest.param("looking up\n" + GOOD, NOT_ONE_DOCUMENT, id="leading-log-line"),
    pytest.param(GOOD + "\0", NOT_ONE_DOCUMENT, id="trailing-nul"),
    pytest.param(b"\xef\xbb\xbf" + GOOD.encode(), NOT_ONE_DOCUMENT, id="byte-order-mark"),
    pytest.param(f"kind: CredentialProviderResponse\napiVersion: {EXEC_API}\n", NOT_ONE_DOCUMENT, id="yaml"),
    pytest.param("", NOT_ONE_DOCUMENT, id="nothing"),
    pytest.param(f"[{GOOD}]", NOT_ONE_DOCUMENT, id="array"),
    pytest.param(replaced('"10m"', "NaN"), NOT_ONE_DOCUMENT, id="nan"),
    pytest.param(GOOD[:-1] + ",}", NOT_ONE_DOCUMENT, id="trailing-comma"),
    pytest.param(replaced('"user"', '"us\ner"'), NOT_ONE_DOCUMENT, id="raw-control-character"),
    pytest.param(GOOD[:-1], NOT_ONE_DOCUMENT, id="cut-short"),
    # The configured version, byte for byte.
    pytest.param("null", OTHER_VERSION, id="null"),
    pytest.param(changed(apiVersion=None), OTHER_VERSION, id="no-version"),
    pytest.param(changed(apiVersion=EXEC_API + "beta1"), OTHER_VERSION, id="other-version"),
    pytest.param(changed(apiVersion=EXEC_API + " "), OTHER_VERSION, id="version-with-blank"),
    # The strict decoder; its own words are held back, since they may quote credentials.
    pytest.param(changed(expires="1h"), NOT_STRICT, id="unknown-field"),
    pytest.param(changed(metadata={"name": "x"}), NOT_STRICT, id="metadata"),
    pytest.param(changed(auth={"r.io": {"username": "u", "password": SECRET, "email": "e"}}), NOT_STRICT, id="email"),
    pytest.param(GOOD[:-1] + ',"cacheDuration":"5m"}', NOT_STRICT, id="duplicate-key"),
    pytest.param(replaced(f'"{SECRET}"', f'"{SECRET}","password":"2"'), NOT_STRICT, id="duplicate-password"),
    pytest.param(
        replaced('"auth": {', '"auth": {"r.io":{"username":"a","password":"b"},'), NOT_STRICT, id="duplicate-auth-key"
    ),
    pytest.param(replaced('"cacheKeyType"', '"CacheKeyType"'), NOT_STRICT, id="case-of-a-key"),
    pytest.param(replaced('"username"', '"userName"'), NOT_STRICT, id="case-of-an-inner-key"),
    pytest.param(replaced('"kind"', '"Kind"'), NOT_STRICT, id="case-of-kind"),
    pytest.param(replaced('"apiVersion"', '"apiversion"'), NOT_STRICT, id="case-of-version"),
    pytest.param(changed(kind="CredentialProviderRequest"), NOT_STRICT, id="other-kind"),
    pytest.param(changed(kind=None), NOT_STRICT, id="no-kind"),
    pytest.param(replaced(f'"{SECRET}"', "12345678"), NOT_STRICT, id="number-for-a-string"),
    pytest.param(changed(cacheDuration=2400), NOT_STRICT, id="duration-number"),
    pytest.param(changed(cacheDuration=0), NOT_STRICT, id="duration-number-zero"),
    *(
        pytest.param(changed(cacheDuration=text), NOT_STRICT, id=f"duration-{text!r}")
        for text in ("", "2400", "1d", " 5m", "5M", "2562048h", "-2562048h")
    ),
    # The provider: after decoding, before anything is stored.
    pytest.param(changed(cacheKeyType=None), BAD_KEY_TYPE, id="no-key-type"),
    pytest.param(replaced('"Image"', "null"), BAD_KEY_TYPE, id="null-key-type"),
    pytest.param(changed(cacheKeyType="registry"), BAD_KEY_TYPE, id="case-of-key-type"),
    pytest.param(changed(cacheKeyType="Repository"), BAD_KEY_TYPE, id="unknown-key-type"),
]


@pytest.mark.parametrize(("stdout", "error"), REJECTED)
def test_rejected(rig: Callable[..., Rig], stdout: str | bytes, error: str) -> None:
    """A malformed answer gives no credential, one error in the log without the secret, and is not cached."""
    node = rig()
    node.plugin.answer(stdout)
    seen = node.kubelet.lookup("r.io/app")
    assert seen.credentials == []
    assert len(seen.errors) == 1
    assert error in seen.errors[0].error
    assert SECRET not in seen.errors[0].error
    assert node.kubelet.cache_keys("scripted") == []
    assert node.kubelet.lookup("r.io/app").executions != []


ACCEPTED_DURATIONS = [
    ("0", 0.0), ("0s", 0.0), ("-0s", 0.0), ("-5m", -300.0), ("+5m", 300.0), ("1.5h", 5400.0), (".5h", 1800.0),
    ("5.h", 18000.0), ("1ns", 1e-9), ("5\u00b5s", 5e-6), ("1h1m1s", 3661.0), ("2562047h", 2562047 * 3600.0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "seconds"), ACCEPTED_DURATIONS)
def test_durations(rig: Callable[..., Rig], text: str, seconds: float) -> None:
    """Go's duration grammar is what counts: signs, fractions, any unit up to hours, and a zero without one."""
    node = rig()
    node.plugin.answer(changed(cacheDuration=text))
    seen = node.kubelet.lookup("r.io/app")
    answer = seen.executions[0].response
    assert answer is not None
    assert answer.cache_s == pytest.approx(seconds)
    assert [c.password for c in seen.credentials] == [SECRET]


ACCEPTED = [
    pytest.param(f" \t\r\n{GOOD}\n\n", [("user", SECRET)], id="white-space-around"),
    pytest.param(replaced('"10m"', "null"), [("user", SECRET)], id="duration-null"),
    pytest.param(changed(auth=None), [], id="no-auth"),
    pytest.param(changed(auth={}), [], id="empty-auth"),
    pytest.param('{"auth":null,' + changed(auth=None)[1:], [], id="auth-null"),
    # No refusal: an empty user name and password are a credential, and tried.
    pytest.param(changed(auth={"r.io": None}), [("", "")], id="entry-null"),
    pytest.param(changed(auth={"r.io": {}}), [("", "")], id="entry-empty"),
    pytest.param(changed(auth={"r.io": {"username": "u"}}), [("u", "")], id="no-password"),
    pytest.param(replaced(f'"{SECRET}"', "null"), [("user", "")], id="password-null"),
    pytest.param(GOOD.encode().replace(b'"user"', b'"\xff"'), [("\ufffd", SECRET)], id="not-utf-8"),
    pytest.param(replaced('"user"', '"\\ud800"'), [("\ufffd", SECRET)], id="lone-surrogate"),
]


@pytest.mark.parametrize(("stdout", "credentials"), ACCEPTED)
def test_accepted(rig: Callable[..., Rig], stdout: str | bytes, credentials: list[tuple[str, str]]) -> None:
    """What is odd but decodes: the kubelet takes it without a word in its log."""
    node = rig()
    node.plugin.answer(stdout)
    seen = node.kubelet.lookup("r.io/app")
    assert [(c.username, c.password) for c in seen.credentials] == credentials
    assert seen.errors == []


def test_the_error_of_the_first_step_quotes_one_character_at_most(rig: Callable[..., Rig]) -> None:
    """Text before the document is named in the log by the character where the parser stopped."""
    node = rig()
    node.plugin.answer(SECRET + GOOD)
    assert "invalid character 'a'" in node.kubelet.lookup("r.io/app").errors[0].error


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
def test_each_version_answers_in_its_own(rig: Callable[..., Rig], version: str) -> None:
    """The configured version is what the request says and what the answer must say."""
    api = f"credentialprovider.kubelet.k8s.io/{version}"
    node = rig(provider(apiVersion=api))
    node.plugin.answer(response({"r.io": ("user", SECRET)}, api=api))
    assert len(node.kubelet.lookup("r.io/app").credentials) == 1
    text = f'{{"kind":"CredentialProviderRequest","apiVersion":"{api}","image":"r.io/app"}}\n'
    assert node.plugin.runs[0].stdin == text.encode()


def test_request_with_token(rig: Callable[..., Rig]) -> None:
    """The bytes of a request: compact, one line, configured annotations only, sorted, HTML escaped."""
    keys = ["z.example/last", "a.example/first", "a.example/absent"]
    node = rig(provider(tokenAttributes=token_attributes(optionalServiceAccountAnnotationKeys=keys)))
    annotations = {"a.example/first": "<1&2>", "other.example/x": "no", "z.example/last": "\u00fc"}
    node.kubelet.service_account(annotations=annotations, token="a.b.c")
    node.kubelet.lookup("r.io/app", Pod())
    expected = (
        '{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"r.io/app",'
        '"serviceAccountToken":"a.b.c","serviceAccountAnnotations":'
        '{"a.example/first":"\\u003c1\\u00262\\u003e","z.example/last":"\u00fc"}}\n'
    )
    assert node.plugin.runs[0].stdin == expected.encode()


def test_request_without_annotations(rig: Callable[..., Rig]) -> None:
    """An empty map of annotations is left out."""
    node = rig(provider(tokenAttributes=token_attributes(optionalServiceAccountAnnotationKeys=["a.example/x"])))
    node.kubelet.service_account(token="a.b.c")
    node.kubelet.lookup("r.io/app", Pod())
    assert set(node.plugin.runs[0].request) == {"kind", "apiVersion", "image", "serviceAccountToken"}


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("busybox", "docker.io/library/busybox"),
        ("busybox:1", "docker.io/library/busybox"),
        ("docker.io/busybox@sha256:" + "0" * 64, "docker.io/library/busybox"),
        ("registry.example.com:5000/a/b:v1", "registry.example.com:5000/a/b"),
        ("r.io/v2/app:1@sha256:" + "0" * 64, "r.io/v2/app"),
        ("localhost/a", "localhost/a"),
        ("R.io/a", "R.io/a"),
        ("[::1]:5000/a", "[::1]:5000/a"),
    ],
)
def test_what_the_image_looks_like(new_kubelet: Callable[..., Any], image: str, repository: str) -> None:
    """A plugin is given the normalised name without tag and digest (`pkg/util/parsers/parsers.go`)."""
    assert new_kubelet().parse(image).repository == repository


@pytest.mark.parametrize("image", ["r.io/App", "r.io/a%2fb", "r.io/a//b", "https://r.io/a", "u@r.io/a", "r.io/a/", ""])
def test_images_no_plugin_is_asked_for(new_kubelet: Callable[..., Any], image: str) -> None:
    """Upper case in a path, percent signs, schemes and user names never get past the kubelet's parser."""
    assert new_kubelet().parse(image).error != ""

"""What the demo takes for a right refusal, a right answer and a right image, and when it writes in colours."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from cloud import Request
from demo import clients, scenes, story
from demo.stage import Reply
from demo.telling import Teller

if TYPE_CHECKING:
    from pathlib import Path

LINE = "pullpass: no-grant: no grant matches; add one\n"
ASKED = Request(1, "cloud", "POST", "/", "/", "", "127.0.0.1", None, {}, b"", tls=True, proxied=False, received_s=0)


@pytest.mark.parametrize(
    ("reply", "surprise"),
    [
        (Reply(3, b"", LINE, []), None),
        (Reply(None, b"", LINE, []), "no end within"),
        (Reply(4, b"", LINE, []), "exit status 4"),
        (Reply(3, b"{}", LINE, []), "on stdout"),
        (Reply(3, b"", LINE, [ASKED]), "the cloud was asked"),
        (Reply(3, b"", LINE + LINE, []), "not one line"),
        (Reply(3, b"", LINE.rstrip(), []), "not one line"),
        (Reply(3, b"", "", []), "not one line"),
        (Reply(3, b"", LINE.replace("no-grant", "token-expired"), []), "not one line with the code no-grant"),
        (Reply(3, b"", LINE.replace("add", "a.b.c"), []), "the token stands"),
    ],
)
def test_what_a_refusal_must_be(reply: Reply, surprise: str | None) -> None:
    """Each thing that a refusal may get wrong is a surprise, and nothing else is."""
    found = "; ".join(scenes.surprises(reply, "no-grant", "a.b.c"))
    assert surprise in found if surprise else not found


ENTRY = {"username": "AWS", "password": "secret"}
RESPONSE: dict[str, Any] = {
    "kind": "CredentialProviderResponse",
    "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
    "cacheKeyType": "Image",
    "cacheDuration": "600s",
    "auth": {story.APP.name: ENTRY},
}


@pytest.mark.parametrize(
    ("changed", "surprise"),
    [
        ({}, None),
        ({"auth": {}}, "no response with one credential"),
        ({"auth": {story.APP.name: ENTRY, story.OTHER: ENTRY}}, "no response with one credential"),
        ({"auth": {story.OTHER: ENTRY}}, "not what was asked for"),
        ({"auth": {story.APP.name: ENTRY | {"password": ""}}}, "its password is empty"),
        ({"auth": {story.APP.name: ENTRY | {"username": "root"}}}, "user name is not AWS"),
        ({"kind": "CredentialProviderRequest"}, "kind, version"),
        ({"apiVersion": "credentialprovider.kubelet.k8s.io/v1beta1"}, "kind, version"),
        ({"cacheKeyType": "Global"}, "cache key type"),
    ],
)
def test_what_an_answer_must_be(changed: dict[str, Any], surprise: str | None) -> None:
    """An answer that the kubelet would not use for this image is a surprise."""
    reply = Reply(0, json.dumps(RESPONSE | changed).encode(), "", [])
    if surprise is None:
        assert scenes.credential(reply, story.APP.name, "AWS") == (story.APP.name, ("AWS", "secret"), "600s")
    else:
        with pytest.raises(scenes.UnexpectedError, match=surprise):
            scenes.credential(reply, story.APP.name, "AWS")


BLOB = b"content"
PART = {"digest": f"sha256:{hashlib.sha256(BLOB).hexdigest()}", "size": len(BLOB)}


@pytest.mark.parametrize(
    ("config", "blob", "complaint"),
    [
        (PART, BLOB, None),
        (PART, b"contenT", "has another digest"),
        (PART, b"content+", "has 8 bytes and should have 7"),
        (PART, None, "was not pulled"),
        (PART | {"size": 8}, BLOB, "has 7 bytes and should have 8"),
        (PART | {"digest": "sha256:../../etc/passwd"}, BLOB, "no SHA-256 digest"),
        ({}, BLOB, "no image manifest"),
    ],
)
def test_verification(tmp_path: Path, config: dict[str, Any], blob: bytes | None, complaint: str | None) -> None:
    """What was pulled is an image only when every blob is there and right."""
    manifest = json.dumps({"mediaType": clients.MANIFESTS[0], "config": config, "layers": []}).encode()
    (tmp_path / "manifest.json").write_bytes(manifest)
    if blob is not None:
        (tmp_path / PART["digest"].removeprefix("sha256:")).write_bytes(blob)  # type: ignore[attr-defined]
    if complaint is None:
        pulled = clients.verify(str(tmp_path))
        assert pulled == (f"sha256:{hashlib.sha256(manifest).hexdigest()}", 1, len(manifest) + len(BLOB))
    else:
        with pytest.raises(clients.PullError, match=complaint):
            clients.verify(str(tmp_path))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It does."""
        return True


@pytest.mark.parametrize(
    ("stream", "variables", "coloured"),
    [
        (Terminal, {"TERM": "xterm"}, True),
        (Terminal, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Terminal, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, {"TERM": "xterm"}, False),
    ],
)
def test_colours(stream: type[io.StringIO], variables: dict[str, str], coloured: bool) -> None:
    """Colours are for terminals, unless NO_COLOR has a value."""
    out = stream()
    Teller(out, variables).table([])
    assert ("\x1b[1m" in out.getvalue()) == coloured

"""The kinds of scenes: what is done, and how it is seen whether what came is what was expected. `story` has the scenes.

A scene is as expected only when everything about it is: a refusal needs its code, its exit status, nothing on stdout,
one line on stderr without the token in it, and a cloud that heard nothing of it; an answer needs its form, the calls
that it was meant to cost and no other, and an image that the registry gave to the very identity that was granted.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cloud import AUDIENCE
from demo.clients import Login, PullError, verify
from demo.stage import ANNOTATION, API_VERSION, KUBELET_PATIENCE_S, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloud import Cloud
    from cloud.images import Store
    from demo.clients import Client
    from demo.stage import Reply, Stage

TAG = "v1"


class UnexpectedError(Exception):
    """A scene did not go as it should: what was seen instead."""


class Outcome:
    """What came of a scene; filled in while it plays, so that what was seen before a surprise is there too.

    Attributes:
        facts: what is shown of it, each a label and a text; no secret among them.
        summary: one phrase for the table.
        code: pullpass's code, or the registry's; "" where there is none.
        surprise: why it is not as expected; "" when it is.
    """

    def __init__(self) -> None:
        self.facts: list[tuple[str, str]] = []
        self.summary = ""
        self.code = ""
        self.surprise = ""

    def see(self, label: str, text: str) -> None:
        """Add a fact."""
        self.facts.append((label, text))


class Shared:
    """What scenes hand on: the client, and the credentials that were issued, by image."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.logins: dict[str, Login] = {}


class Scene(Protocol):
    """One scene."""

    @property
    def title(self) -> str:
        """A few words for the table."""

    @property
    def story(self) -> str:
        """What happens."""

    @property
    def expected(self) -> str:
        """What should come of it, for the table."""

    def play(self, stage: Stage, shared: Shared, outcome: Outcome) -> None:
        """Play it.

        Raises:
            UnexpectedError: it did not go as expected.
        """


class Asker(NamedTuple):
    """Who asks for an image.

    Attributes:
        namespace: of the pod, or "" for a static pod, which has no token.
        audience: of the token.
        launcher: that the kubelet runs, which follows from the audience.
        issued_s: when the token was issued, relative to now; it lives an hour.
    """

    namespace: str = "team-a"
    audience: str = AUDIENCE
    launcher: str = "pullpass-ecr"
    issued_s: int = 0

    def token(self, cloud: Cloud) -> str | None:
        """A token of the service account `web`."""
        if not self.namespace:
            return None
        return cloud.mint_token(self.namespace, "web", audience=self.audience, issued_s=self.issued_s)


class Image(NamedTuple):
    """An image, and who the registry should have given it to.

    Attributes:
        name: without the tag.
        store: where it is in the cloud.
        registry: the cloud's name for the service that has it.
        principal: the end of what the registry calls who pulls.
    """

    name: str
    store: Callable[[Cloud], Store]
    registry: str
    principal: str


class Issued(NamedTuple):
    """A pod gets a credential, and its image with it.

    Attributes:
        title: of the scene.
        story: what happens.
        image: that is asked for.
        calls: what should be sent to the cloud.
        asker: who asks.
        username: that comes with the credential.
        explained: whether the whole explanation is shown, and the request left for `--keep`; else its notes alone.
    """

    title: str
    story: str
    image: Image
    calls: tuple[str, ...]
    asker: Asker = Asker()
    username: str = "AWS"
    explained: bool = False

    @property
    def expected(self) -> str:
        """For the table."""
        return "credential, pull succeeds"

    def play(self, stage: Stage, shared: Shared, outcome: Outcome) -> None:
        """Ask, show what is explained about it, pull with the answer."""
        raw = request(self.image.name, self.asker.token(stage.cloud))
        if self.explained:
            stage.write("request.json", raw)
        for line in stage.explain(raw).splitlines():
            if self.explained:
                outcome.see("explain", line)
            elif line.startswith("  note "):
                outcome.see("note", line.removeprefix("  note ").strip())
        reply = answered(stage, raw, self.asker, outcome)
        key, login, cache = credential(reply, self.image.name, self.username)
        shared.logins[self.image.name] = login
        outcome.see("answer", f"exit status 0, for {key}, to be kept {cache}")
        fingerprint = hashlib.sha256(login.password.encode()).hexdigest()[:12]
        shown = f"{len(login.password)} characters, sha256 {fingerprint}..."
        outcome.see("credential", f"user {login.username}, password not shown ({shown})")
        pull(self.image, login, stage, shared, outcome)
        outcome.summary = "credential, pulled"
        if (sent := calls(reply)) != self.calls:
            raise UnexpectedError(f"the cloud was asked for {', '.join(sent)}, and not for {', '.join(self.calls)}")


class Public(NamedTuple):
    """A pod gets an answer without a credential, and its image without one.

    Attributes:
        title: of the scene.
        story: what happens.
        image: that is asked for.
        asker: who asks.
    """

    title: str
    story: str
    image: Image
    asker: Asker

    @property
    def expected(self) -> str:
        """For the table."""
        return "no credential, pull succeeds"

    def play(self, stage: Stage, shared: Shared, outcome: Outcome) -> None:
        """Ask, and pull as nobody."""
        raw = request(self.image.name, self.asker.token(stage.cloud))
        reply = answered(stage, raw, self.asker, outcome)
        auth, cache = response(reply)
        outcome.see("answer", f"exit status 0, {len(auth)} credentials, to be kept {cache}")
        if auth:
            raise UnexpectedError("the answer has a credential")
        pull(self.image, None, stage, shared, outcome)
        outcome.summary = "no credential, pulled"
        if sent := calls(reply):
            raise UnexpectedError(f"the cloud was asked for {', '.join(sent)}")


class Leaked(NamedTuple):
    """A credential is tried where its workload's role reaches, and the credential should not.

    Attributes:
        title: of the scene.
        story: what happens.
        image: whose credential it is, in the scene before.
        other: that it is tried on.
    """

    title: str
    story: str
    image: str
    other: str

    @property
    def expected(self) -> str:
        """For the table."""
        return "registry refuses"

    def play(self, stage: Stage, shared: Shared, outcome: Outcome) -> None:
        """Pull the other repository."""
        login = shared.logins.get(self.image)
        if login is None:
            outcome.summary = "not played"
            raise UnexpectedError("scene 1 brought no password to try")
        before = len(stage.cloud.requests("registry.manifest"))
        directory = os.path.join(stage.directory, "pulled-other")
        try:
            shared.client.pull(self.other, TAG, login, directory)
        except PullError as error:
            outcome.see("pull", str(error))
        else:
            outcome.summary = "pulled"
            raise UnexpectedError("the password opens more than its repository")
        # The client's failure alone proves nothing: the registry must have heard the password and said no.
        asked = stage.cloud.requests("registry.manifest")[before:]
        if not asked or f"{asked[-1].host}/{asked[-1].parameters['repository']}" != self.other:
            outcome.summary = "pull failed"
            raise UnexpectedError("the registry was not asked for it")
        outcome.code = asked[-1].code or ""
        outcome.summary = f"registry refused, HTTP {asked[-1].status}"
        if asked[-1].status != 403:
            raise UnexpectedError(f"the registry answered {asked[-1].status} and not 403")


class Refused(NamedTuple):
    """A request that pullpass refuses by itself.

    Attributes:
        title: of the scene.
        story: what happens.
        code: the refusal's code; its exit status is 3, "refused by policy, the host gate, or the token".
        image: that is asked for.
        asker: who asks.
        role: that the service account's annotation names, if any.
    """

    title: str
    story: str
    code: str
    image: str
    asker: Asker = Asker()
    role: str | None = None

    @property
    def expected(self) -> str:
        """For the table."""
        return "refused, nothing sent"

    def play(self, stage: Stage, shared: Shared, outcome: Outcome) -> None:
        """Ask, and look at the refusal."""
        token = self.asker.token(stage.cloud) or ""
        raw = request(self.image, token, {ANNOTATION: self.role} if self.role else None)
        reply = stage.ask(raw, self.asker.launcher)
        outcome.code = reply.stderr.removeprefix("pullpass: ").partition(":")[0] if reply.stderr else ""
        outcome.summary = f"refused, exit {reply.status}" if reply.status else f"exit {reply.status}"
        sizes = f"{len(reply.stdout)} bytes on stdout, {len(reply.sent)} requests to the cloud"
        outcome.see("answer", f"exit status {reply.status}, {sizes}")
        outcome.see("stderr", reply.stderr.strip().replace(token, "(the token)") or "nothing")
        for surprise in surprises(reply, self.code, token):
            raise UnexpectedError(surprise)


def surprises(reply: Reply, code: str, token: str) -> Iterator[str]:
    """What is not as it should be about a refusal with `code`, of a request with `token`."""
    if token in reply.stderr:
        yield "the token stands in the refusal"
    if reply.status is None:
        yield f"no end within {KUBELET_PATIENCE_S} s"
    if reply.stdout:
        yield "something stands on stdout"
    if reply.sent:
        yield f"the cloud was asked: {', '.join(sent.where for sent in reply.sent)}"
    line, *further = reply.stderr.split("\n")
    if not line.startswith(f"pullpass: {code}: ") or further != [""]:
        yield f"stderr is not one line with the code {code}"
    if reply.status != 3:
        yield f"exit status {reply.status} and not 3"


def answered(stage: Stage, raw: bytes, asker: Asker, outcome: Outcome) -> Reply:
    """Ask, and show what was sent.

    Raises:
        UnexpectedError: there is no answer.
    """
    reply = stage.ask(raw, asker.launcher)
    outcome.summary = f"exit {reply.status}"
    outcome.see("to the cloud", ", ".join(calls(reply)) or "nothing")
    if reply.status != 0 or reply.stderr:
        outcome.see("answer", f"exit status {reply.status}: {reply.stderr.strip()}")
        raise UnexpectedError(f"no answer, but exit status {reply.status} and {reply.stderr.strip()!r}")
    return reply


def calls(reply: Reply) -> tuple[str, ...]:
    """What was asked of the cloud; that it fetches the issuer's keys is its own affair."""
    return tuple(sent.where for sent in reply.sent if sent.service != "issuer")


def pull(image: Image, login: Login | None, stage: Stage, shared: Shared, outcome: Outcome) -> None:
    """Pull an image, look at every byte of it, and at who the registry thought was asking.

    Raises:
        UnexpectedError: it is not the image, or not the one who should have it.
    """
    before = len(stage.cloud.requests(f"{image.registry}.manifest"))
    directory = os.path.join(stage.directory, "pulled", image.name.replace("/", "_"))
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    try:
        shared.client.pull(image.name, TAG, login, directory)
        pulled = verify(directory)
    except PullError as error:
        outcome.summary = "answered, pull failed"
        outcome.see("pull", str(error))
        raise UnexpectedError(f"the pull failed: {error}") from None
    size = f"{pulled.blobs} blobs, {pulled.size_bytes} bytes"
    outcome.see("pull", f"{pulled.digest[:19]}..., {size}, every digest and size verified")
    held = image.store(stage.cloud).tags[TAG]
    if pulled.digest != held:
        raise UnexpectedError(f"the image is not the registry's {TAG}, which is {held}")
    asked = stage.cloud.requests(f"{image.registry}.manifest")[before:]
    who = str(asked[-1].principal) if asked else "nobody that the registry knows of"
    outcome.see("pulled by", who)
    if not who.endswith(image.principal):
        raise UnexpectedError(f"the registry gave it to {who}, and not to {image.principal}")


def response(reply: Reply) -> tuple[dict[str, dict[str, str]], str]:
    """The response's credentials by key, and its cache duration.

    Raises:
        UnexpectedError: the kubelet would not take it.
    """
    try:
        document = json.loads(reply.stdout)
        auth = dict(document["auth"])
        head = (document["kind"], document["apiVersion"], document["cacheKeyType"])
        duration = str(document["cacheDuration"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnexpectedError(f"the answer is no response: {type(error).__name__}") from None
    if head != ("CredentialProviderResponse", API_VERSION, "Image"):
        raise UnexpectedError(f"the answer's kind, version and cache key type are {head}")
    return auth, duration


def credential(reply: Reply, image: str, username: str) -> tuple[str, Login, str]:
    """The response's auth key, its credential and its cache duration, looked at as the kubelet looks at them.

    Raises:
        UnexpectedError: the kubelet would take it for no answer to this request.
    """
    auth, duration = response(reply)
    try:
        ((key, entry),) = auth.items()
        login = Login(entry["username"], entry["password"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnexpectedError(f"the answer is no response with one credential: {type(error).__name__}") from None
    if not image.startswith(key):
        raise UnexpectedError(f"the answer is for {key}, which is not what was asked for")
    if login.username != username or not login.password:
        raise UnexpectedError(f"the answer's user name is not {username}, or its password is empty")
    return key, login, duration

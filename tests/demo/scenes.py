"""The scenes: what happens, what is expected, and how it is seen whether that came.

A scene is as expected only when everything about it is: a refusal needs its code, its exit status, nothing on stdout,
one line on stderr without the token in it, and a cloud that heard nothing of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cloud import ACCOUNT, AUDIENCE
from demo.clients import Login, PullError, verify
from demo.stage import ANNOTATION, API_VERSION, HOST, KUBELET_PATIENCE_S, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from demo.clients import Client
    from demo.stage import Reply, Stage

IMAGE = f"{HOST}/team-a/app"
OTHER = f"{HOST}/team-a/other"
SHARED = f"{HOST}/shared/base"
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
    """What scenes hand on: the client, and the password of the first scene."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.login: Login | None = None


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


class Own:
    """A workload pulls its own image."""

    title = "team-a pulls its own image"
    story = (
        f"A pod of team-a/web needs {IMAGE}. The kubelet runs pullpass-ecr: the pod's service-account token on stdin,"
        " no arguments, an empty environment, from /. The answer is then used to pull."
    )
    expected = "password, pull succeeds"

    def play(self, stage: Stage, shared: Shared, outcome: Outcome) -> None:
        """Ask, show the explanation, pull with the answer."""
        raw = request(IMAGE, stage.cloud.mint_token("team-a", "web"))
        stage.write("request.json", raw)
        for line in stage.explain(raw).splitlines():
            outcome.see("explain", line)
        reply = stage.ask(raw)
        outcome.summary = f"exit {reply.status}"
        # That STS fetches the issuer's keys is its own affair.
        calls = [sent.where for sent in reply.sent if sent.service != "issuer"]
        outcome.see("to the cloud", ", ".join(calls) or "nothing")
        if reply.status != 0 or reply.stderr:
            outcome.see("answer", f"exit status {reply.status}: {reply.stderr.strip()}")
            raise UnexpectedError(f"no answer, but exit status {reply.status} and {reply.stderr.strip()!r}")
        key, shared.login, cache = credential(reply, IMAGE)
        outcome.see("answer", f"exit status 0, for {key}, to be kept {cache}")
        password = shared.login.password
        fingerprint = hashlib.sha256(password.encode()).hexdigest()[:12]
        shown = f"{len(password)} characters, sha256 {fingerprint}..."
        outcome.see("credential", f"user {shared.login.username}, password not shown ({shown})")
        self._pull(stage, shared, outcome)

    def _pull(self, stage: Stage, shared: Shared, outcome: Outcome) -> None:
        assert shared.login is not None
        directory = os.path.join(stage.directory, "pulled")
        try:
            shared.client.pull(IMAGE, TAG, shared.login, directory)
            pulled = verify(directory)
        except PullError as error:
            outcome.summary = "password, pull failed"
            outcome.see("pull", str(error))
            raise UnexpectedError(f"the pull failed: {error}") from None
        outcome.summary = "password, pulled"
        size = f"{pulled.blobs} blobs, {pulled.size_bytes} bytes"
        outcome.see("pull", f"{pulled.digest[:19]}..., {size}, every digest and size verified")
        held = stage.cloud.world.repository("team-a/app").store.tags[TAG]
        if pulled.digest != held:
            raise UnexpectedError(f"the image is not the registry's {TAG}, which is {held}")


class Leaked:
    """The first scene's password is tried where the workload's role reaches, and the password should not."""

    title = "the same password elsewhere"
    story = (
        f"The password of scene 1 is tried on {OTHER}. The role pull-team-a may read that repository too; the session"
        " behind the password is limited to the one that was asked for."
    )
    expected = "registry refuses"

    def play(self, stage: Stage, shared: Shared, outcome: Outcome) -> None:
        """Pull another repository of the same team."""
        if shared.login is None:
            outcome.summary = "not played"
            raise UnexpectedError("scene 1 brought no password to try")
        before = len(stage.cloud.requests("registry.manifest"))
        directory = os.path.join(stage.directory, "pulled-other")
        try:
            shared.client.pull(OTHER, TAG, shared.login, directory)
        except PullError as error:
            outcome.see("pull", str(error))
        else:
            outcome.summary = "pulled"
            raise UnexpectedError("the password opens more than its repository")
        # The client's failure alone proves nothing: the registry must have heard the password and said no.
        asked = stage.cloud.requests("registry.manifest")[before:]
        if not asked or f"{HOST}/{asked[-1].parameters['repository']}" != OTHER:
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
        account: the pod's namespace and service account.
        audience: of the token.
        issued_s: when the token was issued, relative to now; it lives an hour.
        role: that the service account's annotation names, if any.
    """

    title: str
    story: str
    code: str
    image: str = IMAGE
    account: tuple[str, str] = ("team-a", "web")
    audience: str = AUDIENCE
    issued_s: int = 0
    role: str | None = None

    @property
    def expected(self) -> str:
        """For the table."""
        return "refused, nothing sent"

    def play(self, stage: Stage, shared: Shared, outcome: Outcome) -> None:
        """Ask, and look at the refusal."""
        token = stage.cloud.mint_token(*self.account, audience=self.audience, issued_s=self.issued_s)
        reply = stage.ask(request(self.image, token, {ANNOTATION: self.role} if self.role else None))
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


def credential(reply: Reply, image: str) -> tuple[str, Login, str]:
    """The response's auth key, its credential and its cache duration, looked at as the kubelet looks at them.

    Raises:
        UnexpectedError: the kubelet would take it for no answer to this request.
    """
    try:
        document = json.loads(reply.stdout)
        ((key, entry),) = document["auth"].items()
        login = Login(entry["username"], entry["password"])
        head = (document["kind"], document["apiVersion"], document["cacheKeyType"])
        duration = str(document["cacheDuration"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnexpectedError(f"the answer is no response with one credential: {type(error).__name__}") from None
    if head != ("CredentialProviderResponse", API_VERSION, "Image"):
        raise UnexpectedError(f"the answer's kind, version and cache key type are {head}")
    if not image.startswith(key):
        raise UnexpectedError(f"the answer is for {key}, which is not what was asked for")
    if login.username != "AWS" or not login.password:
        raise UnexpectedError("the answer's user name is not AWS, or its password is empty")
    return key, login, duration


SCENES: tuple[Scene, ...] = (
    Own(),
    Leaked(),
    Refused(
        "a service account that no grant names",
        "A pod of guests/web asks for the image of team-a.",
        "no-grant",
        account=("guests", "web"),
    ),
    Refused(
        "a registry that is not ours",
        "A pod of team-a/web asks for registry.example.net/team-a/app. No token goes to a host that nobody configured.",
        "registry-unknown",
        image="registry.example.net/team-a/app",
    ),
    Refused(
        "an expired token",
        "A token that ended an hour ago asks for the image of team-a.",
        "token-expired",
        issued_s=-7200,
    ),
    Refused(
        "a token for another audience",
        "A pod of team-a/web shows the token it has for the Kubernetes API instead of one for pulling from ECR.",
        "token-audience",
        audience="https://kubernetes.default.svc",
    ),
    Refused(
        "a role outside the allow-list",
        f"team-a/web asks for {SHARED}, and its annotation chooses the role of team-b. The second grant lets an"
        " annotation choose, among the roles of the pod's own namespace only.",
        "identity-not-allowed",
        image=SHARED,
        role=f"arn:aws:iam::{ACCOUNT}:role/pull-team-b",
    ),
)

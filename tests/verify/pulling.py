"""What a registry says to a credential: a GET of one manifest, as container runtimes log in for it.

The distribution specification's way: `/v2/` says how to log in; with Basic the credential goes to the resource itself,
with Bearer it is first exchanged at the registry's own token endpoint. A credential is never sent to another host than
the image's.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode, urlsplit

from pullpass.clock import Deadline
from pullpass.errors import PullpassError, outside
from pullpass.exchange.transport import Transport
from pullpass.secret import Secret
from verify.points import hide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pullpass.clock import Clock
    from pullpass.exchange import Credential
    from pullpass.exchange.transport import Answer
    from verify.inputs import Image

PATIENCE_S = 30.0
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class Seen(NamedTuple):
    """What a registry answered.

    Attributes:
        status: of HTTP.
        code: of the distribution specification, or "".
        message: the registry's words, made fit to print.
        at: what was asked: `manifest` or `token`.
    """

    status: int
    code: str = ""
    message: str = ""
    at: str = "manifest"

    @property
    def opened(self) -> bool:
        """Whether the manifest came."""
        return self.status == 200

    @property
    def refused(self) -> bool:
        """Whether it was withheld from who asked. ECR and Artifact Registry may call what one may not see absent."""
        return self.status in (401, 403, 404)

    @property
    def brief(self) -> str:
        """Status and code."""
        return f"{self.status} {outside(self.code, 32)}".strip()

    def __str__(self) -> str:
        where = " at the token endpoint" if self.at == "token" else ""
        said = f": {self.message}" if self.message else ""
        return f"HTTP {self.brief}{where}{said}"


class Registry:
    """Asks registries for manifests."""

    def __init__(self, clock: Clock, ca_bundle: str, secrets: list[Secret]) -> None:
        """Prepare; nothing is asked yet.

        Args:
            clock: the run's clock.
            ca_bundle: path of a PEM file, or "" for the system's store.
            secrets: all that must not be shown; what registries give out is added.
        """
        self._clock = clock
        self._ca_bundle = ca_bundle
        self._secrets = secrets

    def manifest(self, image: Image, credential: Credential | None) -> Seen:
        """Ask for the manifest of `image` as the bearer of `credential`, or as nobody.

        Raises:
            PullpassError: the registry gave no answer that says anything.
        """
        entered = self.enter(image, credential)
        return entered if isinstance(entered, Seen) else self.get(image, entered)

    def enter(self, image: Image, credential: Credential | None) -> Secret | Seen:
        """Log in for `image`.

        Returns:
            The value of the header `Authorization` ("" for none), or the refusal.

        Raises:
            PullpassError: as `manifest`.
        """
        basic = self._keep("" if credential is None else _basic(credential))
        ping = self._send(image.target.host, "/v2/", Secret(""))
        challenge = next((text for name, text in ping.headers if name.lower() == "www-authenticate"), "")
        if ping.status != 401 or not challenge.lower().startswith("bearer "):
            return basic
        answer = self._send(image.target.host, _token_path(image, challenge), basic)
        if answer.status != 200:
            return self._refusal(answer, "token")
        document = _document(answer)
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise PullpassError("cloud-answer", f"{outside(image.target.host)}: the token endpoint gave no token")
        return self._keep(f"Bearer {token}")

    def get(self, image: Image, authorization: Secret) -> Seen:
        """Ask for the manifest with what `enter` returned.

        Raises:
            PullpassError: as `manifest`.
        """
        path = f"/v2/{image.target.repository}/manifests/{image.reference}"
        answer = self._send(image.target.host, path, authorization)
        if answer.status != 200:
            return self._refusal(answer, "manifest")
        if "schemaVersion" not in _document(answer):
            raise PullpassError("cloud-answer", f"{outside(image.target.host)} answered with something else")
        return Seen(200)

    def _send(self, host: str, path: str, authorization: Secret) -> Answer:
        headers = {"Accept": MANIFESTS, "User-Agent": "pullpass-verify-cloud"}
        if authorization.reveal():
            headers["Authorization"] = authorization.reveal()
        deadline = Deadline(self._clock, PATIENCE_S)
        transport = Transport(deadline, self._clock, self._ca_bundle)
        return deadline.run(lambda: transport.send("GET", f"https://{host}{path}", headers, None), f"https://{host}/")

    def _keep(self, authorization: str) -> Secret:
        if authorization:
            self._secrets.append(Secret(authorization.partition(" ")[2]))
        return Secret(authorization)

    def _refusal(self, answer: Answer, at: str) -> Seen:
        try:
            first = json.loads(answer.body)["errors"][0]
            code, message = str(first.get("code", "")), str(first.get("message", ""))
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            code, message = "", ""
        # Before it is cut: half a secret would not be found any more.
        return Seen(answer.status, outside(hide(code, self._secrets), 64), outside(hide(message, self._secrets)), at)


def _basic(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.secret.reveal()}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _token_path(image: Image, challenge: str) -> str:
    """Path and query of the token endpoint, which must be the registry's own.

    Raises:
        PullpassError: `cloud-answer`.
    """
    parameters = dict(_PARAMETER.findall(challenge))
    realm = urlsplit(parameters.get("realm", ""))
    if realm.scheme != "https" or realm.netloc != image.target.host:
        raise PullpassError(
            "cloud-answer",
            f"{outside(image.target.host)} wants the credential sent to {outside(realm.netloc or 'nowhere', 128)}",
        )
    query = {"service": parameters.get("service", ""), "scope": f"repository:{image.target.repository}:pull"}
    return f"{realm.path or '/'}?{urlencode(query)}"


def _document(answer: Answer) -> Mapping[str, object]:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    return document if isinstance(document, dict) else {}

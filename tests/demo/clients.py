"""Who pulls with an issued credential: skopeo where it is installed, otherwise a small client of our own.

Both go through the cloud's proxy door, so that images keep their real names and the TLS certificate is checked for
them; both write skopeo's `dir:` layout, whose every digest and size is then verified here. Neither looks at the
caller's proxy variables, registries or stored credentials.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from cloud import Cloud

LIMIT_BYTES = 4 << 20  # of one manifest or blob: the demo's images have a few hundred
PATIENCE_S = 30
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
REALM = re.compile(r'Bearer realm="https://([^/"]+)(/[^?"]*)"')
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class PullError(Exception):
    """No image was pulled: the client's words, in one line."""


class Login(NamedTuple):
    """User name and password for a registry."""

    username: str
    password: str

    def basic(self) -> str:
        """Both as Basic authentication writes them."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Pulled(NamedTuple):
    """An image whose every digest and size is right."""

    digest: str
    blobs: int
    size_bytes: int


class Client(Protocol):
    """What pulls."""

    name: str

    def pull(self, image: str, tag: str, login: Login | None, directory: str) -> None:
        """Put `image:tag` into `directory`, which does not exist yet; without a login, as nobody.

        Raises:
            PullError: it could not be had.
        """


class Skopeo:
    """`skopeo copy docker://… dir:…`."""

    def __init__(self, program: str, version: str, cloud: Cloud, scratch: str) -> None:
        """Take the program at this path; `scratch` is a directory of our own."""
        self.name = version
        self._program = program
        self._scratch = scratch
        self._authorities = os.path.join(scratch, "registry-ca")
        os.makedirs(self._authorities)
        shutil.copy(cloud.endpoints.ca_file, os.path.join(self._authorities, "ca.crt"))
        registries = os.path.join(scratch, "registries.conf")
        with open(registries, "w", encoding="ascii"):
            pass
        # The machine's mirrors, logins and proxies are left out.
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": scratch,
            "XDG_RUNTIME_DIR": scratch,
            "TMPDIR": scratch,
            "CONTAINERS_REGISTRIES_CONF": registries,
            "HTTPS_PROXY": cloud.endpoints.proxy,
        }

    def pull(self, image: str, tag: str, login: Login | None, directory: str) -> None:
        """See `Client`. The password goes by a file that lives as long as the call: an argument shows in `ps`."""
        authfile = os.path.join(self._scratch, "auth.json")
        document = {"auths": {image.partition("/")[0]: {"auth": login.basic()}} if login else {}}
        descriptor = os.open(authfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                json.dump(document, stream)
            command = [
                self._program, "--insecure-policy", f"--command-timeout={PATIENCE_S}s", "copy", "--quiet",
                f"--authfile={authfile}", f"--src-cert-dir={self._authorities}",
                f"docker://{image}:{tag}", f"dir:{directory}",
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, env=self._environment, cwd="/", check=False)
        finally:
            os.unlink(authfile)
        if done.returncode:
            said = done.stderr.decode("utf-8", "backslashreplace").strip()
            message = re.search(r'msg="((?:[^"\\]|\\.)*)"', said)
            raise PullError(_one_line(message[1] if message else said))


class Http:
    """The pull half of the distribution API, as far as one image for one platform needs it."""

    name = "a small HTTP client (skopeo is not installed)"

    def __init__(self, cloud: Cloud) -> None:
        """Pull through this cloud's proxy, and trust its authority alone."""
        self._proxy = urlsplit(cloud.endpoints.proxy)
        self._trust = ssl.create_default_context(cafile=cloud.endpoints.ca_file)

    def pull(self, image: str, tag: str, login: Login | None, directory: str) -> None:
        """See `Client`."""
        host, _, repository = image.partition("/")
        # `http.client` knows no proxy variables and follows no redirect.
        connection = http.client.HTTPSConnection(
            str(self._proxy.hostname), self._proxy.port, timeout=PATIENCE_S, context=self._trust
        )
        connection.set_tunnel(host)
        try:
            allowed = f"Basic {login.basic()}" if login else f"Bearer {_nobody(connection, host, repository)}"
            headers = {"Authorization": allowed, "Accept": ", ".join(MANIFESTS)}
            manifest = _get(connection, f"/v2/{repository}/manifests/{tag}", headers)
            parts = {"manifest.json": manifest}
            for part in _described(manifest):
                parts[_hex(part)] = _get(connection, f"/v2/{repository}/blobs/{part['digest']}", headers)
        except (OSError, http.client.HTTPException) as error:
            raise PullError(_one_line(f"{type(error).__name__}: {error}")) from None
        finally:
            connection.close()
        os.mkdir(directory)
        for name, content in parts.items():
            with open(os.path.join(directory, name), "wb") as stream:
                stream.write(content)


def choose(cloud: Cloud, scratch: str) -> Client:
    """The client of this machine."""
    program = shutil.which("skopeo")
    if program is not None:
        try:
            asked = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        except OSError:
            return Http(cloud)
        if asked.returncode == 0:
            return Skopeo(program, asked.stdout.strip(), cloud, scratch)
    return Http(cloud)


def verify(directory: str) -> Pulled:
    """Check an image in the `dir:` layout: every blob of the manifest there, of the right size and digest.

    Raises:
        PullError: something is missing or wrong.
    """
    manifest = _read(directory, "manifest.json")
    parts = _described(manifest)
    for part in parts:
        blob = _read(directory, _hex(part))
        if len(blob) != part["size"]:
            raise PullError(f"{part['digest']} has {len(blob)} bytes and should have {part['size']}")
        if f"sha256:{hashlib.sha256(blob).hexdigest()}" != part["digest"]:
            raise PullError(f"{part['digest']} has another digest")
    size_bytes = len(manifest) + sum(part["size"] for part in parts)
    return Pulled(f"sha256:{hashlib.sha256(manifest).hexdigest()}", len(parts), size_bytes)


def _nobody(connection: http.client.HTTPSConnection, host: str, repository: str) -> str:
    """The token that a registry gives to everybody, by the distribution API's token authentication."""
    connection.request("GET", "/v2/")
    answer = connection.getresponse()
    answer.read(LIMIT_BYTES)
    realm = REALM.search(answer.headers.get("WWW-Authenticate", ""))
    if realm is None or realm[1] != host:
        raise PullError(f"HTTP {answer.status}: the registry does not say where its tokens are")
    scope = urlencode({"service": host, "scope": f"repository:{repository}:pull"})
    try:
        return str(json.loads(_get(connection, f"{realm[2]}?{scope}", {}))["token"])
    except (ValueError, KeyError, TypeError) as error:
        raise PullError(f"no token: {type(error).__name__}") from None


def _get(connection: http.client.HTTPSConnection, path: str, headers: dict[str, str]) -> bytes:
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read(LIMIT_BYTES + 1)
    if answer.status != 200:
        raise PullError(_one_line(f"HTTP {answer.status}: {body[:600].decode('utf-8', 'backslashreplace')}"))
    if len(body) > LIMIT_BYTES:
        raise PullError(f"{path} has more than {LIMIT_BYTES} bytes")
    return body


def _described(manifest: bytes) -> list[dict[str, Any]]:
    """The descriptors of a manifest: the image's configuration and its layers."""
    try:
        document = json.loads(manifest)
        if document["mediaType"] not in MANIFESTS:
            raise PullError(f"not an image manifest but {document['mediaType']}")
        parts = [document["config"], *document["layers"]]
        return [{"digest": str(part["digest"]), "size": int(part["size"])} for part in parts]
    except (ValueError, KeyError, TypeError) as error:
        raise PullError(f"no image manifest: {type(error).__name__}") from None


def _hex(part: dict[str, Any]) -> str:
    """The file name of a blob; what is no digest must not become a path."""
    match = DIGEST.fullmatch(part["digest"])
    if match is None:
        raise PullError("the manifest names a blob by something that is no SHA-256 digest")
    return match[1]


def _read(directory: str, name: str) -> bytes:
    try:
        with open(os.path.join(directory, name), "rb") as stream:
            return stream.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise PullError(f"{name} was not pulled ({error.strerror})") from None


def _one_line(text: str) -> str:
    """The client's words as one printable line."""
    return "".join(char if char.isprintable() else " " for char in text)[:600]

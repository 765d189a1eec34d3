"""What the kubelet's code puts into its image pull records: asked of the Go program that `Kubelet` drives."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from conformance.kubelet import Kubelet


class SecretError(Exception):
    """The kubelet can't read a pull secret; the text is its own."""


class SecretCredential(NamedTuple):
    """A credential from a pull secret; bytes, since not everything in one has to be UTF-8."""

    username: bytes
    password: bytes
    email: bytes
    hash: str


def pull_secret(kubelet: Kubelet, docker_config: bytes, image: str) -> list[SecretCredential]:
    """The credentials of a pull secret for an image, as `secrets.MakeDockerKeyring` finds and hashes them.

    Raises:
        SecretError: the kubelet does not take the docker config.
    """
    answer = kubelet._do(op="pullSecret", dockerConfig=base64.b64encode(docker_config).decode(), image=image)
    if answer["error"]:
        raise SecretError(answer["error"])
    decode = base64.b64decode
    return [
        SecretCredential(decode(c["username"]), decode(c["password"]), decode(c["email"]), c["hash"])
        for c in answer["credentials"]
    ]


def record_names(kubelet: Kubelet, text: bytes) -> tuple[str, str]:
    """The names of the files of an intent for the image `text` and of a record with the reference `text`."""
    answer = kubelet._do(op="recordNames", text=base64.b64encode(text).decode())
    return answer["intent"], answer["record"]

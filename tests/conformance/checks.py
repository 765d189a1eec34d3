"""The checks of `scripts/conformance plugin`: their names, and what they found."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

OK, NOTE, FINDING = "ok", "note", "FINDING"

CHECKS = {
    "registers": "the kubelet starts with this configuration and finds the binary",
    "match-images": "each pattern of matchImages can match an image at all",
    "asked": "the plugin is run for the image",
    "runs": "run from / in a bare environment, it answers with exit status 0",
    "one-document": "standard output is one JSON document and nothing else",
    "decodes": "the kubelet's strict decoder takes the answer, and its echo guard lets it pass",
    "auth-key": "the keyring finds the credential for this very image",
    "cache-key-type": "the answer is cached for no repository that it has no credential for",
    "cache-duration": "zero, or between a second and a day",
    "cached": "the next look-up is answered from the kubelet's cache, or not, as the answer says",
    "attribution": "the credential belongs to the service account whose token was sent, or to the node without one",
    "leaves-nothing": "no process holds the plugin's output after its end, which would block the kubelet",
    "time": "well within the kubelet's minute",
    "bad-token": "a token with a broken signature, of a service account not seen before, gets no credential",
    "bad-input": "requests that are none end in a failure, not in an answer",
    "failure": "a failure has an exit status and says something on standard error, best in one line",
    "refuses": "images named by --refuse get no credential",
    "no-secrets": "neither token nor password in standard error or in the kubelet's log",
}
"""Name and meaning, in the order in which they are shown."""

SECRET_LENGTH = 8
"""Shorter pieces occur by chance."""


class Check(NamedTuple):
    """One result. `image` is empty where a check is about the provider."""

    name: str
    provider: str
    image: str
    result: str
    text: str


class Report:
    """Results, in the order they were found, and the secrets that no text may show."""

    def __init__(self) -> None:
        """Start empty."""
        self.checks: list[Check] = []
        self._secrets: set[str] = set()
        self._said: dict[str, list[tuple[str, str]]] = {}

    def add(self, name: str, result: str, text: str, provider: str = "", image: str = "") -> None:
        """Note a result; secrets in the text are taken out.

        Raises:
            KeyError: it is no check of the table.
        """
        if name not in CHECKS:
            raise KeyError(name)
        self.checks.append(Check(name, provider, image, result, self._hidden(text)))

    @property
    def findings(self) -> int:
        """How many results are findings."""
        return sum(check.result == FINDING for check in self.checks)

    # --- secrets

    def secret(self, *values: str) -> None:
        """Remember a token or password, and the parts of a token."""
        for value in values:
            parts = value.split(".")
            pieces = [value, *parts[1:]] if len(parts) == 3 else [value]
            self._secrets.update(piece for piece in pieces if len(piece) >= SECRET_LENGTH)

    def said(self, provider: str, run: str, text: str) -> None:
        """Remember what a run said where anybody may read it."""
        self._said.setdefault(provider, []).append((run, text))

    def shown_secrets(self, provider: str) -> list[str]:
        """The runs of a provider that showed a secret."""
        said = self._said.get(provider, [])
        return [run for run, text in said if any(secret in text for secret in self._secrets)]

    def _hidden(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "(secret)")
        return text


def claims(token: str) -> dict[str, Any]:
    """The claims of a token, unverified; empty where there are none to read."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        document = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def broken(token: str) -> str:
    """The token of a service account and a pod that nobody knows, and so with a signature that is not theirs.

    With its claims left alone a plugin that keeps credentials could hand out what it has for the same service account.
    """
    signature = token.rpartition(".")[2]
    document = claims(token)
    if not document:
        return "A" * len(token)
    bound = document.get("kubernetes.io")
    for holder in bound.values() if isinstance(bound, dict) else ():
        if isinstance(holder, dict) and "uid" in holder:
            holder["uid"] = str(uuid.uuid4())
    body = base64.urlsafe_b64encode(json.dumps(document, separators=(",", ":")).encode()).rstrip(b"=").decode()
    return f"{token.partition('.')[0]}.{body}.{'A' * len(signature)}"


def quoted(names: Iterable[str]) -> str:
    """Names for a sentence."""
    return ", ".join(repr(name) for name in names)

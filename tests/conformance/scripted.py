"""Plugins that answer what a test says, and the configuration that registers them.

A scripted plugin is an executable of its own: the kubelet's code execs it like any other. What it does stands beside it
in `NAME.script`, what it was given goes to `NAME.runs`, one JSON document a line. So a test may change the answer while
the kubelet lives.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EXEC_API = "credentialprovider.kubelet.k8s.io/v1"
CONFIG_API = "kubelet.config.k8s.io/v1"

# Runs as a program of its own: it may import nothing of this package.
_PROGRAM = """#!{python} -IS
import base64, json, os, sys, time
with open(sys.argv[0] + ".script") as stream:
    script = json.load(stream)
given = base64.b64encode(sys.stdin.buffer.read()).decode() if script["read"] else ""
run = {{"stdin": given, "argv": sys.argv, "environment": dict(os.environ), "directory": os.getcwd()}}
log = os.open(sys.argv[0] + ".runs", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
os.write(log, json.dumps(run).encode() + b"\\n")
os.close(log)
if script["child_s"] and os.fork() == 0:
    time.sleep(script["child_s"])  # holds on to stdout and stderr
    os._exit(0)
time.sleep(script["sleep_s"])
answer = base64.b64decode(script["stdout"])
if script["echo"]:
    answer = answer.replace(b"THE-TOKEN", json.loads(base64.b64decode(given)).get("serviceAccountToken", "").encode())
sys.stdout.buffer.write(answer)
sys.stdout.flush()
sys.stderr.write(script["stderr"])
sys.stderr.flush()
os._exit(script["status"])
"""


class Run(NamedTuple):
    """What one start of a scripted plugin was given."""

    stdin: bytes
    argv: list[str]
    environment: dict[str, str]
    directory: str

    @property
    def request(self) -> dict[str, Any]:
        """The request, decoded."""
        document: dict[str, Any] = json.loads(self.stdin)
        return document


class Plugin:
    """A scripted plugin in a bin directory."""

    def __init__(self, bin_dir: str, name: str) -> None:
        """Put it there; until told, it answers without a credential."""
        os.makedirs(bin_dir, exist_ok=True)
        self.bin_dir = bin_dir
        self.name = name
        self.path = os.path.join(bin_dir, name)
        with open(self.path, "w", encoding="utf-8") as stream:
            # The real interpreter: a path inside a virtual environment may be too long for an interpreter line.
            stream.write(_PROGRAM.format(python=os.path.realpath(sys.executable)))
        os.chmod(self.path, 0o700)
        self.answer(response())

    def answer(
        self,
        stdout: str | bytes,
        *,
        status: int = 0,
        stderr: str = "",
        sleep_s: float = 0.0,
        child_s: float = 0.0,
        read: bool = True,
        echo: bool = False,
    ) -> None:
        """Say what it does from now on.

        Args:
            stdout: what it prints.
            status: its exit status.
            stderr: what it prints there.
            sleep_s: how long it waits first.
            child_s: how long a child lives on that holds its stdout and stderr.
            read: whether it reads its input.
            echo: whether `THE-TOKEN` in `stdout` is replaced by the token it was given.
        """
        data = stdout.encode() if isinstance(stdout, str) else stdout
        script = {
            "stdout": base64.b64encode(data).decode(),
            "status": status,
            "stderr": stderr,
            "sleep_s": sleep_s,
            "child_s": child_s,
            "read": read,
            "echo": echo,
        }
        aside = f"{self.path}.script.new"
        with open(aside, "w", encoding="utf-8") as stream:
            json.dump(script, stream)
        os.replace(aside, f"{self.path}.script")

    @property
    def runs(self) -> list[Run]:
        """What it was given, start by start."""
        if not os.path.exists(f"{self.path}.runs"):
            return []
        with open(f"{self.path}.runs", encoding="utf-8") as stream:
            documents = [json.loads(line) for line in stream]
        return [
            Run(base64.b64decode(d["stdin"]), d["argv"], d["environment"], d["directory"]) for d in documents
        ]  # fmt: skip


def response(
    auth: Mapping[str, tuple[str, str]] | None = None,
    *,
    key_type: str = "Image",
    duration: str | None = None,
    api: str = EXEC_API,
) -> str:
    """A well-formed `CredentialProviderResponse`."""
    document: dict[str, Any] = {"kind": "CredentialProviderResponse", "apiVersion": api, "cacheKeyType": key_type}
    if duration is not None:
        document["cacheDuration"] = duration
    if auth is not None:
        document["auth"] = {key: {"username": user, "password": word} for key, (user, word) in auth.items()}
    return json.dumps(document)


def token_attributes(**changes: Any) -> dict[str, Any]:
    """`tokenAttributes` of a provider entry, with changes."""
    usual = {"serviceAccountTokenAudience": "audience", "cacheType": "ServiceAccount", "requireServiceAccount": True}
    return {**usual, **changes}


def provider(name: str = "scripted", match: Sequence[str] = ("r.io",), **changes: Any) -> dict[str, Any]:
    """A provider entry, with changes."""
    usual = {"name": name, "apiVersion": EXEC_API, "matchImages": list(match), "defaultCacheDuration": "0s"}
    return {**usual, **changes}


def write_config(path: str, providers: Sequence[Mapping[str, Any]], api: str = CONFIG_API) -> str:
    """Write a `CredentialProviderConfig`, as JSON, which the kubelet reads as well; returns the path."""
    document = {"apiVersion": api, "kind": "CredentialProviderConfig", "providers": list(providers)}
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=2)
    return path

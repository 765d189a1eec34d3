"""Drives one kubelet: the Go program that links the kubelet's exec-plugin code (see `go/kubelet/plugins/protocol.go`).

Example::

    with Kubelet(build("kubelet-plugins")) as kubelet:
        assert kubelet.register(config, bin_dir).error == ""
        kubelet.service_account("team-a", "web", uid="1", token=token)
        seen = kubelet.lookup("111122223333.dkr.ecr.us-west-2.amazonaws.com/team-a/app", Pod("team-a", "web"))
        seen.credentials, seen.executions, seen.errors

Registration is global in the kubelet's package, so one object is one kubelet's life. Its clock, which decides about the
credential cache alone, stands still and is moved by `advance`.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

BARE_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""What a service manager gives a kubelet, and so what a plugin starts with, from `/`."""

ANSWER_WITHIN_S = 150.0
"""A look-up may take the kubelet's minute for each matching provider."""


class RunnerError(Exception):
    """The Go program failed or did not understand; never something that the kubelet's code said about a plugin."""


class Pod(NamedTuple):
    """Who pulls. Without a service account it is a static pod."""

    namespace: str = "team-a"
    service_account: str = "web"
    name: str = "web-0"
    uid: str = "0b6f0f0e-8a3c-4a53-8f0c-2d8ea9a1b001"


class Account(NamedTuple):
    """The service account that a credential is attributed to."""

    uid: str
    namespace: str
    name: str


class Credential(NamedTuple):
    """A credential of the keyring; `account` None: open to the whole node."""

    username: str
    password: str
    hash: str
    account: Account | None


class Response(NamedTuple):
    """A plugin's answer as the kubelet's decoder took it. `cache_s` None: the provider's default counts."""

    cache_key_type: str
    cache_s: float | None
    auth: dict[str, tuple[str, str]]


class Execution(NamedTuple):
    """One run of a plugin by the kubelet's exec code. `response` is None where `error` is not empty."""

    provider: str
    image: str
    token: str
    annotations: dict[str, str]
    seconds: float
    error: str
    response: Response | None


class Log(NamedTuple):
    """One line of the kubelet's log, which has level `error` or `info`."""

    level: str
    verbosity: int
    message: str
    error: str
    values: dict[str, str]

    def text(self) -> str:
        """The line as an operator reads it."""
        values = "".join(f" {key}={value!r}" for key, value in self.values.items())
        return f"{self.message!r} err={self.error!r}{values}" if self.error else f"{self.message!r}{values}"


class Call(NamedTuple):
    """One call to the API server: `verb` is `get` or `token`."""

    verb: str
    namespace: str
    name: str
    uid: str
    audiences: tuple[str, ...]
    expiration_s: int | None
    bound: tuple[str, str, str]


class Seen(NamedTuple):
    """What one look-up did. `credentials` are those of the (first) pod that asked, in the order they would be tried."""

    credentials: list[Credential]
    executions: list[Execution]
    calls: list[Call]
    logs: list[Log]
    all_credentials: list[list[Credential]]

    @property
    def errors(self) -> list[Log]:
        """The lines logged as errors."""
        return [line for line in self.logs if line.level == "error"]


class TokenAttributes(NamedTuple):
    """A provider's `tokenAttributes`."""

    audience: str
    cache_type: str
    require_service_account: bool
    required_keys: tuple[str, ...]
    optional_keys: tuple[str, ...]


class Provider(NamedTuple):
    """One provider as the kubelet understood its entry."""

    name: str
    api_version: str
    match_images: tuple[str, ...]
    args: tuple[str, ...]
    env: dict[str, str]
    default_cache_s: float
    token_attributes: TokenAttributes | None


class Registered(NamedTuple):
    """What registration came to; a kubelet does not start with an `error`."""

    error: str
    providers: list[Provider]
    logs: list[Log]


class Image(NamedTuple):
    """An image reference as the kubelet splits it."""

    repository: str
    tag: str
    digest: str
    error: str


class Metrics(NamedTuple):
    """The kubelet's own counters, by plugin."""

    errors: dict[str, float]
    executions: dict[str, int]
    config_hash: str


class Kubelet:
    """One kubelet process."""

    def __init__(self, program: str, environment: Mapping[str, str] = BARE_ENVIRONMENT, directory: str = "/") -> None:
        """Start it.

        Args:
            program: the built Go program.
            environment: the kubelet's, which its plugins inherit.
            directory: the kubelet's working directory, likewise.
        """
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [program],
            env=dict(environment),
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process; a look-up under way is not waited for."""
        process = self._process
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout=1 if process.poll() is None else 0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._stderr.close()

    # --- operations

    def register(self, config: str, bin_dir: str, gates: Mapping[str, bool] | None = None) -> Registered:
        """Do what the kubelet does at its start; once."""
        answer = self._do(op="register", config=config, binDir=bin_dir, gates=dict(gates or {}))
        return Registered(answer["error"], [_provider(p) for p in answer["providers"]], _logs(answer))

    def service_account(
        self,
        namespace: str = "team-a",
        name: str = "web",
        *,
        uid: str = "5f0c2f6a-4be4-4b8e-9a43-c5dd0b7a0001",
        annotations: Mapping[str, str] | None = None,
        token: str = "",
        tokens: Mapping[str, str] | None = None,
        get_error: str = "",
        token_error: str = "",
    ) -> Account:
        """Say what the API server answers about an account from now on; another pod's token is another call of this.

        Args:
            namespace: of the account.
            name: of the account.
            uid: of the account.
            annotations: of the account.
            token: what is issued for every audience that is not in `tokens`.
            tokens: what is issued for an audience.
            get_error: why the account can't be read.
            token_error: why no token is issued.
        """
        account = {
            "namespace": namespace,
            "name": name,
            "uid": uid,
            "annotations": dict(annotations or {}),
            "token": token,
            "tokens": dict(tokens or {}),
            "getError": get_error,
            "tokenError": token_error,
        }
        self._do(op="serviceAccount", serviceAccount=account)
        return Account(uid, namespace, name)

    def lookup(self, repository: str, pod: Pod | None = None) -> Seen:
        """Ask the keyring for one repository (no tag, no digest), for a pod; None is a static pod."""
        return self.lookup_together([(repository, pod)])

    def lookup_together(self, lookups: Sequence[tuple[str, Pod | None]]) -> Seen:
        """Ask for several at the same moment, as several pod workers do."""
        operations = []
        for repository, pod in lookups:
            who = pod if pod is not None else Pod("kube-system", "", "static", "static-uid")
            operations.append(
                {
                    "repository": repository,
                    "namespace": who.namespace,
                    "pod": who.name,
                    "podUID": who.uid,
                    "serviceAccount": who.service_account,
                }
            )
        answer = self._do(op="lookup", lookups=operations)
        found = [[_credential(c) for c in result["credentials"]] for result in answer["results"]]
        for result, credentials in zip(answer["results"], found, strict=True):
            if result["found"] != bool(credentials):
                raise RunnerError(f"the keyring said found={result['found']} with {len(credentials)} credentials")
        executions = [_execution(e) for e in answer["executions"]]
        return Seen(found[0], executions, [_call(c) for c in answer["apiCalls"]], _logs(answer), found)

    def advance(self, duration: str) -> None:
        """Let time pass for the credential caches, by a Go duration such as `10m0.000000001s`."""
        self._do(op="advance", duration=duration)

    def cache_keys(self, provider: str) -> list[bytes]:
        """The keys of a provider's credential cache, expired and not yet purged ones included."""
        keys = self._do(op="cache")["keys"]
        return sorted(bytes.fromhex(key["key"]) for key in keys if key["provider"] == provider)

    def match(self, pattern: str, repository: str) -> bool | None:
        """The kubelet's matcher; None where it can't parse one of the two as a URL, which stops a kubelet at its start.

        A label that is no glob is an error as well, but one that only this image brings out and that nobody looks at.
        """
        answer = self._do(op="match", pattern=pattern, image=repository)
        return None if answer["error"] not in {"", "syntax error in pattern"} else bool(answer["match"])

    def parse(self, image: str) -> Image:
        """Split an image reference as the kubelet does before it asks for credentials."""
        return Image(**self._do(op="parse", image=image))

    def metrics(self) -> Metrics:
        """The kubelet's counters for plugins."""
        answer = self._do(op="metrics")
        return Metrics(answer["errors"], answer["executions"], answer["configHash"])

    # --- the pipe

    def _do(self, **operation: Any) -> dict[str, Any]:
        stdin = self._process.stdin
        try:
            if stdin is None or stdin.closed:
                raise RunnerError("this kubelet was closed")
            stdin.write(json.dumps(operation).encode() + b"\n")
            stdin.flush()
            line = self._read_line()
        except BrokenPipeError:
            line = b""
        if not line:
            self._process.wait(timeout=10)
            self._stderr.seek(0)
            text = self._stderr.read().decode(errors="replace").strip()
            raise RunnerError(f"the runner ended with status {self._process.returncode}: {text}")
        answer: dict[str, Any] = json.loads(line)
        if "failure" in answer:
            raise RunnerError(answer["failure"])
        return answer

    def _read_line(self) -> bytes:
        """One line, or nothing at the end of output.

        Raises:
            RunnerError: none came in time.
        """
        stdout = self._process.stdout
        if stdout is None:
            raise RunnerError("the runner has no output")
        deadline = time.monotonic() + ANSWER_WITHIN_S
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise RunnerError(f"the runner did not answer within {ANSWER_WITHIN_S:.0f} s")
                chunk = os.read(stdout.fileno(), 1 << 16)
                if not chunk:
                    return b""
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def _logs(answer: Mapping[str, Any]) -> list[Log]:
    return [Log(**entry) for entry in answer["logs"]]


def _credential(c: Mapping[str, Any]) -> Credential:
    account = None if c["serviceAccount"] is None else Account(**c["serviceAccount"])
    return Credential(c["username"], c["password"], c["hash"], account)


def _execution(e: Mapping[str, Any]) -> Execution:
    response = None
    if e["response"] is not None:
        auth = {key: (entry["username"], entry["password"]) for key, entry in e["response"]["auth"].items()}
        response = Response(e["response"]["cacheKeyType"], e["response"]["cacheSeconds"], auth)
    return Execution(
        e["provider"], e["image"], e["token"], e["annotations"] or {}, e["seconds"], e["error"], response
    )  # fmt: skip


def _call(c: Mapping[str, Any]) -> Call:
    bound = (c["boundKind"], c["boundName"], c["boundUID"])
    audiences = tuple(c["audiences"] or ())
    return Call(c["verb"], c["namespace"], c["name"], c["uid"], audiences, c["expirationSeconds"], bound)


def _provider(p: Mapping[str, Any]) -> Provider:
    attributes = None
    if (t := p["tokenAttributes"]) is not None:
        keys = tuple(t["requiredAnnotationKeys"] or ()), tuple(t["optionalAnnotationKeys"] or ())
        attributes = TokenAttributes(t["audience"], t["cacheType"], t["requireServiceAccount"], *keys)
    return Provider(
        p["name"],
        p["apiVersion"],
        tuple(p["matchImages"]),
        tuple(p["args"] or ()),
        dict(p["env"] or ()),
        p["defaultCacheDurationSeconds"],
        attributes,
    )

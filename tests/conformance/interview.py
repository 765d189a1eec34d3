"""What one provider is asked, and what is made of its answers.

It is asked by a kubelet of its own, which has only this provider registered, and run directly as well, to see what the
kubelet hides. So an image costs a plugin about four exchanges with its cloud.
"""

from __future__ import annotations

import json
import os
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

from conformance import direct
from conformance.checks import FINDING, NOTE, OK, Report, broken, claims, quoted
from conformance.kubelet import Kubelet, Pod
from conformance.scripted import write_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conformance.direct import Outcome
    from conformance.kubelet import Account, Provider, Response, Seen

DAY_S = 86_400.0
SLOW_S = 30.0
MADE_UP_TOKEN = "bm90.YS10b2tlbi1idXQtbG9uZy1lbm91Z2g.YS1zaWduYXR1cmUtb2Ytbm90aGluZw"


class Options(NamedTuple):
    """What to examine.

    Attributes:
        bin_dir: as the kubelet's flag.
        config: as the kubelet's flag.
        images: must get a credential; as in a pod, a tag or digest is dropped.
        refuse: must get none.
        token: a service-account token for providers with `tokenAttributes`, if there is one.
        annotations: of the service account.
        environment: the kubelet's.
    """

    bin_dir: str
    config: str
    images: tuple[str, ...]
    refuse: tuple[str, ...]
    token: str | None
    annotations: Mapping[str, str]
    environment: Mapping[str, str]


def matches(kubelet: Kubelet, provider: Provider, repository: str) -> bool:
    """Whether the provider is asked for a repository."""
    return any(kubelet.match(pattern, repository) for pattern in provider.match_images)


class Interview:
    """The examination of one provider."""

    def __init__(self, program: str, options: Options, provider: Provider, report: Report) -> None:
        """See `conformance.examine.examine` for the arguments."""
        self.program = program
        self.options = options
        self.provider = provider
        self.report = report
        self.slowest_s = 0.0
        self.passes_tokens_on = False
        self.lingering = False
        attributes = provider.token_attributes
        self.token = None if attributes is None else options.token or MADE_UP_TOKEN
        known = claims(options.token or "")
        bound = known.get("kubernetes.io") if isinstance(known.get("kubernetes.io"), dict) else {}
        self.pod = _pod(bound or {})
        account = (bound or {}).get("serviceaccount")
        self.uid = str(account.get("uid")) if isinstance(account, dict) else "00000000-0000-4000-8000-000000000000"

    def run(self, images: list[str], refuse: list[str]) -> None:
        """All checks of this provider."""
        for image in images:
            if self.token is not None and self.options.token is None:
                self._say("asked", NOTE, "without --token-file only refusals are examined", image)
            else:
                self._answer(image)
            if self.token is not None:
                self._bad_token(image)
        for image in refuse:
            self._refuses(image)
        self._bad_input((images or ["registry.example/conformance"])[0])
        name = self.provider.name
        self._say(
            "time", FINDING if self.slowest_s > SLOW_S else OK, f"{self.slowest_s:.2f} s for the slowest of its runs"
        )
        self._say(
            "leaves-nothing",
            FINDING if self.lingering else OK,
            "a process it started keeps its output open" if self.lingering else "its output ends with it",
        )
        shown = self.report.shown_secrets(name)
        self._say("no-secrets", FINDING if shown else OK, f"shown by: {', '.join(shown)}" if shown else "none shown")

    def _say(self, check: str, result: str, text: str, image: str = "") -> None:
        self.report.add(check, result, text, self.provider.name, image)

    # --- asking

    def _kubelet(self, directory: str, token: str | None) -> tuple[Kubelet, Account | None]:
        """A kubelet with this provider alone, and the account whose token it will get."""
        kubelet = Kubelet(self.program, self.options.environment)
        config = write_config(os.path.join(directory, "provider.json"), [_entry(self.provider)])
        registered = kubelet.register(config, os.path.abspath(self.options.bin_dir))
        if registered.error:  # the whole configuration was taken before
            kubelet.close()
            raise RuntimeError(f"the kubelet does not take one entry alone: {registered.error}")
        account = None
        if token is not None:
            account = kubelet.service_account(
                self.pod.namespace,
                self.pod.service_account,
                uid=self.uid,
                annotations=self.options.annotations,
                token=token,
            )
        return kubelet, account

    def _look(self, kubelet: Kubelet, image: str, what: str, *, token: bool) -> Seen:
        seen = kubelet.lookup(image, self.pod if token else None)
        for line in seen.logs:
            self.report.said(self.provider.name, f"the kubelet's log ({what})", line.text())
        for execution in seen.executions:
            self.slowest_s = max(self.slowest_s, execution.seconds)
            if execution.response is not None:
                self.report.secret(*(password for _, password in execution.response.auth.values()))
        return seen

    def _direct(self, stdin: bytes, what: str) -> Outcome:
        command = [os.path.join(os.path.abspath(self.options.bin_dir), self.provider.name), *self.provider.args]
        outcome = direct.run(command, {**self.options.environment, **self.provider.env}, stdin)
        self.slowest_s = max(self.slowest_s, outcome.seconds)
        self.lingering = self.lingering or outcome.lingering
        self.report.said(self.provider.name, f"standard error ({what})", outcome.stderr.decode(errors="replace"))
        return outcome

    def _request(self, image: str, token: str | None) -> bytes:
        """The request as the kubelet encodes it."""
        document: dict[str, Any] = {"kind": "CredentialProviderRequest"}
        document |= {"apiVersion": self.provider.api_version, "image": image}
        if token is not None and self.provider.token_attributes is not None:
            document["serviceAccountToken"] = token
            attributes, annotations = self.provider.token_attributes, self.options.annotations
            keys = sorted({*attributes.required_keys, *attributes.optional_keys} & set(annotations))
            if given := {key: annotations[key] for key in keys}:
                document["serviceAccountAnnotations"] = given
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"

    # --- an answer

    def _answer(self, image: str) -> None:
        """Everything about an image that must get a credential."""
        with tempfile.TemporaryDirectory() as directory:
            kubelet, account = self._kubelet(directory, self.token)
            with kubelet:
                seen = self._look(kubelet, image, image, token=account is not None)
                self._form(image)
                if not seen.executions:
                    why = [line.text() for line in seen.logs if line.error] or ["nothing in its log says why"]
                    self._say("asked", FINDING, f"the kubelet skipped the plugin: {why[0]}", image)
                    return
                self._say("asked", OK, "once", image)
                response = seen.executions[0].response
                guarded = [e.error for e in seen.errors if e.message == "Failed to provide credentials for image"]
                if response is None or guarded:
                    self._say("decodes", FINDING, guarded[0], image)
                    return
                self._say("decodes", OK, f"{len(response.auth)} credentials", image)
                self._key(seen, response, image)
                self._duration(response, image)
                self._attribution(seen, account, image)
                self._cached(kubelet, response, image, token=account is not None)
                self._width(kubelet, response, image, token=account is not None)
                self.passes_tokens_on = any(word == self.token for _, word in response.auth.values())

    def _form(self, image: str) -> None:
        """What the bytes of an answer are like, by a run without the kubelet."""
        outcome = self._direct(self._request(image, self.token), image)
        if outcome.status is None:
            self._say("runs", FINDING, f"no end within the kubelet's {direct.LIMIT_S:.0f} s", image)
            return
        if outcome.status != 0:
            said = (outcome.stderr_lines() or ["nothing"])[-1]
            self._say("runs", FINDING, f"exit status {outcome.status}; it says: {said}", image)
            return
        self._say("runs", OK, "exit status 0", image)
        if outcome.stderr:
            lines = len(outcome.stderr_lines())
            self._say("failure", NOTE, f"{lines} lines on standard error of a success: nobody sees them", image)
        try:
            json.loads(outcome.stdout.decode("utf-8"))
        except ValueError as error:
            self._say("one-document", FINDING, str(error), image)
        else:
            self._say("one-document", OK, f"{len(outcome.stdout)} bytes", image)

    def _key(self, seen: Seen, response: Response, image: str) -> None:
        unparsable = [line.message.strip() for line in seen.errors if line.message.startswith("Entry ")]
        if unparsable:
            self._say("auth-key", FINDING, unparsable[0], image)
        elif not response.auth:
            self._say("auth-key", FINDING, "the answer is empty: the kubelet pulls without a credential", image)
        elif not seen.credentials:
            self._say("auth-key", FINDING, f"the keyring finds nothing under {quoted(response.auth)}", image)
        else:
            self._say("auth-key", OK, f"user {seen.credentials[0].username!r} under {quoted(response.auth)}", image)

    def _duration(self, response: Response, image: str) -> None:
        if response.cache_s is None:
            default = self.provider.default_cache_s
            self._say(
                "cache-duration", NOTE, f"none: the provider's defaultCacheDuration of {default:g} s counts", image
            )
        elif response.cache_s < 0:
            self._say("cache-duration", FINDING, f"{response.cache_s:g} s: negative, so never used", image)
        elif 0 < response.cache_s < 1:
            self._say("cache-duration", FINDING, f"{response.cache_s:g} s: is the unit right?", image)
        elif response.cache_s > DAY_S:
            self._say("cache-duration", FINDING, f"{response.cache_s:g} s: more than a day", image)
        else:
            self._say("cache-duration", OK, f"{response.cache_s:g} s", image)

    def _attribution(self, seen: Seen, account: Account | None, image: str) -> None:
        if any(credential.account != account for credential in seen.credentials):
            self._say("attribution", FINDING, f"{seen.credentials[0].account} instead of {account}", image)
        elif seen.credentials:
            owner = "the whole node" if account is None else f"{account.namespace}/{account.name}"
            self._say("attribution", OK, owner, image)

    def _cached(self, kubelet: Kubelet, response: Response, image: str, *, token: bool) -> None:
        kept_s = self.provider.default_cache_s if response.cache_s is None else response.cache_s
        again = bool(self._look(kubelet, image, f"{image} again", token=token).executions)
        if again == (kept_s <= 0):
            self._say("cached", OK, "asked again" if again else "not asked again", image)
        else:
            self._say("cached", FINDING, f"asked again: {again}, although it is kept for {kept_s:g} s", image)

    def _width(self, kubelet: Kubelet, response: Response, image: str, *, token: bool) -> None:
        """A kept answer must have a credential for every repository that the kubelet would answer with it."""
        kept_s = self.provider.default_cache_s if response.cache_s is None else response.cache_s
        neighbours = self._neighbours(kubelet, response.cache_key_type, image) if kept_s > 0 else []
        without = []
        for neighbour in neighbours:
            seen = self._look(kubelet, neighbour, f"{image}, neighbour", token=token)
            if not seen.executions and not seen.credentials:
                without.append(neighbour)
        if without:
            text = (
                f"{response.cache_key_type}: the kept answer is used for {quoted(without)} and has no credential there"
            )
            self._say("cache-key-type", FINDING, text, image)
        else:
            self._say("cache-key-type", OK, response.cache_key_type, image)

    def _neighbours(self, kubelet: Kubelet, key_type: str, image: str) -> list[str]:
        """Repositories that share the answer's cache key, and that the provider is asked for."""
        candidates = []
        if key_type in {"Registry", "Global"}:
            candidates.append(f"{image.rpartition('/')[0]}/conformance-neighbour")
        if key_type == "Global":
            hosts = [pattern.partition("/")[0].replace("*", "x") for pattern in self.provider.match_images]
            candidates += [f"{host}/conformance-neighbour" for host in hosts]
        return [c for c in candidates if c != image and matches(kubelet, self.provider, c)]

    # --- refusals

    def _bad_token(self, image: str) -> None:
        """A broken token must never lead to a credential, whatever the plugin falls back to or has kept."""
        if self.passes_tokens_on:
            self._say("bad-token", NOTE, "it passes tokens on: the registry decides", image)
            return
        token = broken(self.token or "")
        self.report.secret(token)
        with tempfile.TemporaryDirectory() as directory:
            kubelet, _ = self._kubelet(directory, token)
            with kubelet:
                seen = self._look(kubelet, image, f"{image}, broken token", token=True)
        if seen.credentials:
            user = seen.credentials[0].username
            self._say("bad-token", FINDING, f"a credential all the same, user {user!r}, in the account's name", image)
        elif seen.executions and seen.executions[0].response is not None:
            self._say("bad-token", NOTE, "an empty answer, whose reason nobody sees", image)
        else:
            self._say("bad-token", OK, "refused", image)
        self._failure(self._direct(self._request(image, token), f"{image}, broken token"), image, "for a broken token")

    def _failure(self, outcome: Outcome, image: str, when: str) -> None:
        lines = outcome.stderr_lines()
        if outcome.status is None:
            self._say("failure", FINDING, f"{when} no end within the kubelet's {direct.LIMIT_S:.0f} s", image)
        elif outcome.status == 0:
            return  # no failure
        elif not lines:
            self._say("failure", FINDING, f"{when} exit status {outcome.status} without a word", image)
        elif len(lines) > 1:
            self._say(
                "failure", NOTE, f"{when} exit status {outcome.status} and {len(lines)} lines, last: {lines[-1]}", image
            )
        else:
            self._say("failure", OK, f"{when} exit status {outcome.status}: {lines[0]}", image)

    def _bad_input(self, image: str) -> None:
        """Four inputs that are no request."""
        request = self._request(image, self.token)
        other = request.replace(b'"CredentialProviderRequest"', b'"CredentialProviderRequests"')
        inputs = {
            "nothing": b"",
            "no document": b"a credential, please\n",
            "half a request": request[: len(request) // 2],
        }
        wrong = []
        for what, stdin in {**inputs, "another kind": other}.items():
            outcome = self._direct(stdin, what)
            self._failure(outcome, "", f"for {what}")
            if outcome.status == 0:
                wrong.append(what)
        if wrong:
            self._say("bad-input", FINDING, f"exit status 0 for: {', '.join(wrong)}")
        else:
            self._say("bad-input", OK, "each of four fails")

    def _refuses(self, image: str) -> None:
        with tempfile.TemporaryDirectory() as directory:
            kubelet, account = self._kubelet(directory, self.token)
            with kubelet:
                seen = self._look(kubelet, image, image, token=account is not None)
        if seen.credentials:
            self._say("refuses", FINDING, f"a credential, user {seen.credentials[0].username!r}", image)
        elif seen.executions and seen.executions[0].response is not None:
            self._say("refuses", NOTE, "no credential, by an answer whose reason nobody sees", image)
        else:
            said = seen.errors[0].error.rstrip() if seen.errors else "skipped by the kubelet"
            self._say("refuses", OK, said, image)


def _pod(bound: Mapping[str, Any]) -> Pod:
    """The pod that a token is bound to, or one made up."""

    def name(key: str, usual: str) -> str:
        member = bound.get(key)
        return str(member["name"]) if isinstance(member, dict) and "name" in member else usual

    return Pod(
        str(bound.get("namespace", "conformance")),
        name("serviceaccount", "conformance"),
        name("pod", "conformance-0"),
    )


def _entry(provider: Provider) -> dict[str, Any]:
    """The provider's entry, written again from what the kubelet understood."""
    entry: dict[str, Any] = {
        "name": provider.name,
        "apiVersion": provider.api_version,
        "matchImages": list(provider.match_images),
        "defaultCacheDuration": f"{provider.default_cache_s:.9f}s",
        "args": list(provider.args),
        "env": [{"name": name, "value": value} for name, value in provider.env.items()],
    }
    if (attributes := provider.token_attributes) is not None:
        entry["tokenAttributes"] = {
            "serviceAccountTokenAudience": attributes.audience,
            "cacheType": attributes.cache_type,
            "requireServiceAccount": attributes.require_service_account,
            "requiredServiceAccountAnnotationKeys": list(attributes.required_keys),
            "optionalServiceAccountAnnotationKeys": list(attributes.optional_keys),
        }
    return entry

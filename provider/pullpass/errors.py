"""The one error tree: a stable code, the facts, the next action, the exit status.

Rules:

* Every error that can reach a user is a `PullpassError` whose code stands in `CODES`; `docs/errors.md` lists the same
  codes and a test compares the two.
* The line that is printed is `pullpass: CODE: what happened (facts); HINT`, exactly one line.
* Text from outside (a cloud's message, an image name, a file's content) goes through `outside`, which escapes what is
  not printable and cuts at 512 bytes: a registry name must not be able to write lines into the kubelet's log.
* This module imports nothing of ours but the codes.
"""

from __future__ import annotations

import os

from pullpass.codes import (
    ANSWERED,
    BAD_INPUT,
    CLOUD_REFUSED,
    CLOUD_UNREACHABLE,
    DENIED,
    FINDINGS,
    INVALID,
    LOCAL_STATE,
    REFUSED,
    TOKEN_AT_FAULT,
    UNREACHABLE,
    aws,
    google,
)

__all__ = [
    "ANSWERED",
    "BAD_INPUT",
    "CLOUD_REFUSED",
    "CLOUD_UNREACHABLE",
    "CODES",
    "DENIED",
    "FINDINGS",
    "INVALID",
    "LOCAL_STATE",
    "REFUSED",
    "TOKEN_AT_FAULT",
    "UNREACHABLE",
    "PullpassError",
    "escape",
    "number_of",
    "outside",
    "shell_word",
]

OUTSIDE_LIMIT_BYTES = 512
# What means nothing to a shell, wherever it stands in a word.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+,")

# code -> (exit status, upstream class, what to do next unless the place that raises knows better)
CODES: dict[str, tuple[int, str, str]] = {
    # --- usage
    "usage": (BAD_INPUT, "", "see `pullpass --help`"),
    # --- request
    "request-empty": (BAD_INPUT, "", "pipe a CredentialProviderRequest to it, as the kubelet does"),
    "request-too-long": (BAD_INPUT, "", "a kubelet sends a few kilobytes: see what else writes to its stdin"),
    "request-encoding": (BAD_INPUT, "", "write it in UTF-8 without a byte order mark"),
    "request-syntax": (BAD_INPUT, "", "it must be one CredentialProviderRequest in JSON"),
    "request-trailing-data": (BAD_INPUT, "", "send one request per run"),
    "request-duplicate-key": (BAD_INPUT, "", "state each key once: readers differ in which of two they take"),
    "request-nesting": (BAD_INPUT, "", "a CredentialProviderRequest has two levels"),
    "request-version": (BAD_INPUT, "", "set this apiVersion in the provider's entry of the CredentialProviderConfig"),
    "request-kind": (BAD_INPUT, "", "it must be a CredentialProviderRequest, as the kubelet writes it"),
    "request-field": (BAD_INPUT, "", "compare it with the kubelet's CredentialProviderRequest, version v1"),
    # --- token
    "token-malformed": (BAD_INPUT, "", "it must be the token that the kubelet got from the API server, unchanged"),
    "token-algorithm": (BAD_INPUT, "", "the API server's signing key must be an RSA or an elliptic-curve one"),
    "token-claims": (BAD_INPUT, "", "it must be a bound service-account token of a Kubernetes API server"),
    "token-issuer": (REFUSED, "", "if that is this cluster's issuer, add it to node.issuers"),
    "token-expired": (REFUSED, "", "the kubelet renews tokens in time: compare this node's clock with the cluster's"),
    "token-not-yet-valid": (REFUSED, "", "compare this node's clock with the API server's"),
    "token-audience": (
        REFUSED,
        "",
        "make serviceAccountTokenAudience in the kubelet's provider entry and the configured audience the same",
    ),
    "token-signature": (
        REFUSED,
        "",
        "if the API server's keys have changed, write its current /openid/v1/jwks to the file",
    ),
    "token-readers-disagree": (REFUSED, "", "the token is ambiguous, or pullpass is wrong: please report it"),
    # --- registry
    "image-invalid": (
        BAD_INPUT,
        "",
        "the kubelet sends HOST/REPOSITORY in lower case, without tag and digest",
    ),
    "registry-unknown": (
        REFUSED,
        "",
        (
            "pullpass serves ECR, ECR Public, Google's registries and configured names: take this host out of"
            " matchImages, or configure it as [[ecr.alias]] or in gcr.hosts"
        ),
    ),
    # --- configuration
    "config-missing": (
        BAD_INPUT,
        "",
        "write it (config/minimal.toml in the source shows the least), or name another one by --config",
    ),
    "config-unreadable": (BAD_INPUT, "", "it must be a regular file that the user who runs pullpass may read"),
    "config-permissions": (
        BAD_INPUT,
        "",
        "it decides who gets which credential: only root, or the user who runs pullpass, may own and write it",
    ),
    "config-invalid": (
        BAD_INPUT,
        "",
        "config/pullpass.toml in the source shows every key; `pullpass explain` checks without any network",
    ),
    "config-runtime-moved": (
        BAD_INPUT,
        "",
        "run `pullpass install --bin-dir D` again, so that the launchers know the new directory",
    ),
    "jwks-file": (
        BAD_INPUT,
        "",
        "node.jwks must name what `kubectl get --raw /openid/v1/jwks` prints, in a file that nobody else may write",
    ),
    "jwks-keys": (BAD_INPUT, "", "write the API server's /openid/v1/jwks to it, unchanged"),
    "extra-missing": (BAD_INPUT, "", "install pullpass with the extra of the cloud that the configuration names"),
    "ca-bundle": (
        BAD_INPUT,
        "",
        "node.ca_bundle must name a PEM file, up to 4 MiB, of CA certificates that only root, or this user, may write",
    ),
    "openssl": (
        BAD_INPUT,
        "",
        "see what is wrong in that file, or take OPENSSL_CONF out of the kubelet's environment",
    ),
    "proxy": (BAD_INPUT, "", "set HTTPS_PROXY to http://HOST:PORT, or list the cloud's host in NO_PROXY"),
    # --- policy
    "no-grant": (REFUSED, "", "add a [[grant]] for this service account and image, if it is meant to have it"),
    "refused-by-grant": (
        REFUSED,
        "",
        "put a narrower grant above this one to make an exception",
    ),
    "annotation-missing": (
        REFUSED,
        "",
        "annotate the service account, and list the key in the provider entry's optionalServiceAccountAnnotationKeys",
    ),
    "identity-invalid": (
        REFUSED,
        "",
        "the annotation's value must be an IAM role ARN, a service account e-mail or `principal`",
    ),
    "identity-not-allowed": (
        REFUSED,
        "",
        "choose an identity that the grant allows, or have the operator extend its `allow`",
    ),
    "identity-mismatch": (
        REFUSED,
        "",
        "give this image a grant of its own, with an identity of the cloud that serves it",
    ),
    "registry-not-configured": (
        REFUSED,
        "",
        "add the section, or take the host out of the provider entry's matchImages",
    ),
    "order-storm": (REFUSED, "", "the next pull tries again; see `pullpass orders list`"),
    # --- exchange: unreachable
    "cloud-unreachable": (
        UNREACHABLE,
        CLOUD_UNREACHABLE,
        "check name resolution, routes, firewall and proxy from this node to that host",
    ),
    "cloud-tls": (
        UNREACHABLE,
        CLOUD_UNREACHABLE,
        "if the host is behind a private CA or an inspecting proxy, name its certificates as node.ca_bundle",
    ),
    "cloud-throttled": (UNREACHABLE, CLOUD_UNREACHABLE, "the next pull tries again; see the account's API quota"),
    "cloud-failing": (UNREACHABLE, CLOUD_UNREACHABLE, "the next pull tries again; see the cloud's status page"),
    "terminated": (
        UNREACHABLE,
        CLOUD_UNREACHABLE,
        "the kubelet, or whoever sent the signal, asks again at the next pull",
    ),
    "deadline-exceeded": (
        UNREACHABLE,
        CLOUD_UNREACHABLE,
        "check that the node reaches the cloud (name resolution, routes, proxy), or raise node.deadline (at most 55s)",
    ),
    # --- exchange: invalid
    "credential-echo": (CLOUD_REFUSED, INVALID, "the configured endpoint gives back what it is sent: see whose it is"),
    "cloud-redirect": (
        CLOUD_REFUSED,
        INVALID,
        "a token is never sent on to another host: configure the endpoint that really answers",
    ),
    "cloud-answer": (
        CLOUD_REFUSED,
        INVALID,
        "something other than the cloud's API seems to answer there: check the endpoint, and any proxy before it",
    ),
    "cloud-answer-expired": (CLOUD_REFUSED, INVALID, "check this node's clock"),
    "cloud-denied": (CLOUD_REFUSED, DENIED, "another version of pullpass has written down why: see its audit line"),
    "credential-too-short": (CLOUD_REFUSED, INVALID, "raise the session's duration, or check this node's clock"),
    # --- orders
    "blocked-by-order": (
        REFUSED,
        "",
        "an operator blocked it: see `pullpass orders list`, and lift the order when it is over",
    ),
    "order-unknown": (BAD_INPUT, "", "`pullpass orders list` shows the orders of this node"),
    "order-conflict": (BAD_INPUT, "", "choose another id: approvals remember ids, so an order is never changed"),
    "approval-unknown": (BAD_INPUT, "", "`pullpass approvals list` shows the keys: give one, or its first characters"),
    "order-remote": (BAD_INPUT, "", "lift it where it comes from: take it out of the set that `orders sync` reads"),
    "order-set": (LOCAL_STATE, "", "the last good set stays in force: put the set right, and sync again"),
    "order-unreadable": (
        LOCAL_STATE,
        "",
        "it may be a block, so nothing is answered: put it right, or remove it by `pullpass orders lift NAME`",
    ),
    "order-unwritable": (LOCAL_STATE, "", "paths.state must be a disk that is not full, and writable for this user"),
    # --- local state
    "state-path": (
        LOCAL_STATE,
        "",
        "it must belong to the user that runs pullpass, with mode 0700 and no symbolic link below it",
    ),
    "state-unwritable": (
        LOCAL_STATE,
        "",
        "put paths.state on a disk that is neither full nor read-only: no credential leaves without an approval",
    ),
    "trail-unwritable": (
        LOCAL_STATE,
        "",
        'put paths.state on a disk that is neither full nor read-only; audit.when_full = "issue" answers all the same',
    ),
    "trail-unreadable": (LOCAL_STATE, "", "run it as the user that pullpass runs as, root in production"),
    "export-failed": (LOCAL_STATE, "", "choose a directory that this user may write, on a disk that is not full"),
    "runtime-unwritable": (
        LOCAL_STATE,
        "",
        "paths.runtime must be a tmpfs, or a disk that is not full, and writable for this user",
    ),
    "rotation-unfinished": (
        LOCAL_STATE,
        "",
        "run `pullpass cache rotate-key` again: until it has ended, credentials are kept under either key",
    ),
    "install-failed": (
        LOCAL_STATE,
        "",
        "choose a directory that this user may write, on a file system that is not read-only",
    ),
    "install-interpreter": (
        LOCAL_STATE,
        "",
        "an interpreter line can't name it: install pullpass into an environment with a short path without spaces",
    ),
    "launcher-stale": (LOCAL_STATE, "", "run `pullpass install` again"),
    "stdout-closed": (LOCAL_STATE, "", "stdout must be open, on a disk that is not full, and read until the end"),
    "internal": (LOCAL_STATE, "", "this is a defect of pullpass: please report it with this line"),
    **aws.CODES,
    **google.CODES,
}


class PullpassError(Exception):
    """Something a user is told in one line.

    Attributes:
        code: stable, kebab-case, in `CODES`.
        what: what happened, with the facts; already free of secrets.
        hint: the next action.
        status: the exit status.
        upstream: the class of an upstream error, or "".
    """

    def __init__(self, code: str, what: str, hint: str | None = None) -> None:
        """Make the error.

        Args:
            code: a key of `CODES`.
            what: what happened, with the facts.
            hint: the next action; the code's own when not given.
        """
        super().__init__(code, what)
        self.code = code
        self.what = what
        self.status, self.upstream, default_hint = CODES[code]
        self.hint = hint or default_hint

    def line(self) -> str:
        """The one line for stderr, without its line feed."""
        return escape(f"pullpass: {self.code}: {self.what}; {self.hint}")

    def __str__(self) -> str:
        return self.line()


def escape(text: str) -> str:
    """Make `text` one printable line: what is not printable is written as in a Python string literal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def number_of(count: int, noun: str, plural: str = "") -> str:
    """A count and its noun, in a sentence for people: `1 line`, `2 lines`.

    Args:
        count: how many.
        noun: of one.
        plural: of more, and of none, where an s does not make it.
    """
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"


def shell_word(text: str) -> str:
    """Text as one word of a shell, for a command that can be copied out of a hint."""
    if text and _PLAIN.issuperset(text):
        return text
    if text.isprintable():
        return "'" + text.replace("'", "'\\''") + "'"
    # Byte by byte: `escape` writes what Python reads, and a shell must get back the very name.
    return "$'" + "".join(chr(byte) if chr(byte) in _PLAIN else f"\\x{byte:02x}" for byte in os.fsencode(text)) + "'"


def outside(text: str, limit_bytes: int = OUTSIDE_LIMIT_BYTES) -> str:
    """Make text from outside fit for an error: escaped, and cut at `limit_bytes` of UTF-8."""
    # Cut before escaping as well, so that a megabyte of text costs nothing; each character is at least one byte.
    escaped = escape(text[: limit_bytes + 1]).encode("utf-8", "backslashreplace")
    if len(escaped) <= limit_bytes:
        return escaped.decode("utf-8")
    return escaped[: limit_bytes - 3].decode("utf-8", "ignore") + "..."

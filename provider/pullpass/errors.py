"""The one error tree: a stable code, the facts, the next action, the exit status.

Rules:

* Every error that can reach a user is a `PullpassError` whose code stands in `CODES`; `docs/errors.md` lists the same
  codes and a test compares the two.
* The line that is printed is `pullpass: CODE: what happened (facts); HINT`, exactly one line.
* Text from outside (a cloud's message, an image name, a file's content) goes through `outside`, which escapes what is
  not printable and cuts at 512 bytes: a registry name must not be able to write lines into the kubelet's log.
* This module imports nothing.
"""

from __future__ import annotations

ANSWERED = 0
FINDINGS = 1
BAD_INPUT = 2
REFUSED = 3
CLOUD_REFUSED = 4
UNREACHABLE = 5
LOCAL_STATE = 6

OUTSIDE_LIMIT_BYTES = 512

# Classes of upstream errors (design: "When the exchange fails"): what they mean for credentials and waiters. "" is for
# everything that is not an answer, or a missing answer, of the cloud.
DENIED = "denied"
TOKEN_AT_FAULT = "token"  # noqa: S105 - the name of a class of errors
CLOUD_UNREACHABLE = "unreachable"
INVALID = "invalid"

# code -> (exit status, upstream class, what to do next unless the place that raises knows better)
CODES: dict[str, tuple[int, str, str]] = {
    # --- usage
    "usage": (BAD_INPUT, "", "see `pullpass --help`"),
    # --- request
    # --- token
    # --- registry
    # --- configuration
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
    # --- exchange: denied
    # --- exchange: token
    # --- exchange: unreachable
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
    "credential-too-short": (CLOUD_REFUSED, INVALID, "raise the session's duration, or check this node's clock"),
    # --- local state
    "state-path": (
        LOCAL_STATE,
        "",
        "it must belong to the user that runs pullpass, with mode 0700 and no symbolic link below it",
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
    "stdout-closed": (LOCAL_STATE, "", "whoever runs the launcher must read its stdout until the end"),
    "internal": (LOCAL_STATE, "", "this is a defect of pullpass: please report it with this line"),
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


def outside(text: str, limit_bytes: int = OUTSIDE_LIMIT_BYTES) -> str:
    """Make text from outside fit for an error: escaped, and cut at `limit_bytes` of UTF-8."""
    # Cut before escaping as well, so that a megabyte of text costs nothing; each character is at least one byte.
    escaped = escape(text[: limit_bytes + 1]).encode("utf-8", "backslashreplace")
    if len(escaped) <= limit_bytes:
        return escaped.decode("utf-8")
    return escaped[: limit_bytes - 3].decode("utf-8", "ignore") + "..."

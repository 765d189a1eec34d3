"""What of a cloud's words may be shown: not what it was sent, not what it issued, and not what looks like either.

Whoever answers a request has its token, and an honest service may quote it: STS says which value it did not accept, a
debugging proxy sends everything back, cut, wrapped or encoded. Whoever reads the kubelet's log must not get it that
way. So three things are blanked in one pass, each of which an echo could be:

* any 16 characters in a row of a secret, also in another case, in the other alphabet of base64, percent-encoded, or
  with blanks and line breaks in between;
* a secret that is shorter than that, as a whole;
* 32 or more characters in a row of an alphabet in which secrets are written, unless they are made of facts that are no
  secret: the role's name in its ARN, say. That is for base64 of a token, or for a token that nobody here knows.

A service that wants to give a token away has other ways than an error's text; this is about those that do not.

The text is cut before, to a few kilobytes, and the work grows with the lengths of text and secrets alone: both may come
from a server that wants to see the deadline overrun.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pullpass import identity
from pullpass.errors import PullpassError
from pullpass.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# An error shows 512 bytes of a text; what is blanked makes it shorter.
LIMIT_CHARS = 4096
FRAGMENT_CHARS = 16
RUN_CHARS = 32
# A shorter fact has no share in making a run long, and may stand in a random one by chance.
FACT_CHARS = 8
BLANK = "[redacted]"

# Names that the clouds use in messages, and that are long.
VOCABULARY = (
    "AssumeRoleWithWebIdentity",
    "GetAuthorizationToken",
    "GetServiceBearerToken",
    "allowServiceAccountCredentialLifetimeExtension",
    "assumed-role/",
    "generateAccessToken",
    "locations/global/workloadIdentityPools/",
    "oidc-provider/",
    "projects/-/serviceAccounts/",
    "repository/",
    "resource_control_policy/",
    "service_control_policy/",
    "workloadIdentityPools/",
    "workloadIdentityUser",
)

_RUN = re.compile(r"[A-Za-z0-9_+/=-]+")
# An id of a request.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")


def facts_of(token: Secret) -> list[str]:
    """The names in a token that a cloud's message may well hold: none, of a token that can't be read."""
    try:
        _, claims = identity.decode(token.reveal())
    except PullpassError:
        return []
    return [str(claims.get(name, "")) for name in ("iss", "sub", "aud")]


class Redactor:
    """Blanks secrets in text from outside."""

    def __init__(self, secrets: Iterable[Secret], facts: Iterable[str]) -> None:
        """Take what is known beforehand.

        Args:
            secrets: what must not be seen.
            facts: what may be: names, ARNs, URLs of a plan, codes of a cloud.
        """
        self._secrets: list[tuple[Secret, Secret]] = []  # as it is, and folded
        self.add(*secrets)
        words = {word for fact in (*VOCABULARY, *facts) for word in _RUN.findall(fact) if len(word) >= FACT_CHARS}
        # The longest first, so that a part of a fact does not take the place of all of it.
        longest_first = sorted(words, key=len, reverse=True)
        self._facts = re.compile("|".join(map(re.escape, longest_first)))

    def add(self, *secrets: Secret) -> None:
        """Hide these as well from now on."""
        for secret in secrets:
            # The dots of a token stay, so that what stands before the echo of a part is no piece of the token.
            parts = [_folded(part)[0] for part in secret.reveal().split(".")]
            self._secrets.append((secret, Secret(".".join(parts))))

    def __call__(self, text: str) -> str:
        """`text`, or its beginning, with `BLANK` for each part that must not be seen.

        It is not yet fit for an error: `errors.outside` escapes it and cuts it, after this.
        """
        text = text[:LIMIT_CHARS]
        hidden = bytearray(len(text))
        folded, places = _folded(text)
        for secret, folded_secret in self._secrets:
            _hide_short(hidden, text, secret.reveal())
            _hide_fragments(hidden, text, range(len(text)), secret.reveal())
            _hide_fragments(hidden, folded, places, folded_secret.reveal())
        for start, end in _runs(text, hidden):
            if not self._is_known(text[start:end]):
                _hide(hidden, start, end)
        return _rendered(text, hidden)

    def what(self, error: PullpassError) -> str:
        """What an error of the transport says: nothing of the other side where it has no class of the cloud's."""
        return self(error.what) if error.upstream else error.what

    def _is_known(self, run: str) -> bool:
        """Whether a run is short, or becomes short without the facts in it."""
        return len(run) < RUN_CHARS or bool(_UUID.fullmatch(run)) or len(self._facts.sub("", run)) < RUN_CHARS


def _folded(text: str) -> tuple[str, list[int]]:
    """Letters and digits alone, in lower case and with percent-encoding undone, and where each of them is."""
    kept: list[str] = []
    places: list[int] = []
    place = 0
    while place < len(text):
        char, width = text[place], 1
        if char == "%" and (encoded := _PERCENT.match(text, place)):
            char, width = chr(int(encoded[1], 16)), 3
        if char.isascii() and char.isalnum():
            kept.append(char.lower())
            places.append(place)
        place += width
    return "".join(kept), places


def _hide(hidden: bytearray, start: int, end: int) -> None:
    hidden[start:end] = b"\1" * (end - start)


def _hide_short(hidden: bytearray, text: str, secret: str) -> None:
    """Hide a secret that is too short to have fragments, wherever it stands."""
    if 0 < len(secret) < FRAGMENT_CHARS:
        for found in re.finditer(re.escape(secret), text):
            _hide(hidden, *found.span())


def _hide_fragments(hidden: bytearray, text: str, places: Sequence[int], secret: str) -> None:
    """Hide each `FRAGMENT_CHARS` characters of `text`, which are at `places`, that stand in `secret` too.

    The secret is gone through once, with the text's fragments in a set: the text is short, the secret need not be.
    """
    starts = range(len(text) - FRAGMENT_CHARS + 1)
    fragments = {text[start : start + FRAGMENT_CHARS] for start in starts}
    found = {
        fragment
        for start in range(len(secret) - FRAGMENT_CHARS + 1)
        if (fragment := secret[start : start + FRAGMENT_CHARS]) in fragments
    }
    if found:
        for start in starts:
            if text[start : start + FRAGMENT_CHARS] in found:
                _hide(hidden, places[start], places[start + FRAGMENT_CHARS - 1] + 1)


def _runs(text: str, hidden: bytearray) -> list[tuple[int, int]]:
    """Where the runs of a secret's alphabet are in what is not hidden."""
    seen = "".join("\0" if hide else char for char, hide in zip(text, hidden, strict=True))
    return [found.span() for found in _RUN.finditer(seen)]


def _rendered(text: str, hidden: bytearray) -> str:
    parts: list[str] = []
    place = 0
    for found in re.finditer(b"\1+", bytes(hidden)):
        parts += [text[place : found.start()], BLANK]
        place = found.end()
    return "".join([*parts, text[place:]])

"""Claims, and what trying one brings: what was done, what was seen, whether that settles it, what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pullpass.errors import PullpassError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pullpass.secret import Secret

CONFIRMED = "confirmed"
REFUTED = "refuted"
NOT_SETTLED = "not settled"
# Part of a secret that is this long is a secret; shorter parts, such as the `ya29` of Google's tokens, are words.
PART_CHARS = 16
HIDDEN = "[hidden]"


class Claim(NamedTuple):
    """Something that pullpass relies on, or that its documents say.

    Attributes:
        name: short and stable; documents and reports call it by this.
        text: the claim as a sentence that is true or false.
    """

    name: str
    text: str


class Outcome(NamedTuple):
    """What trying a claim came to.

    Attributes:
        verdict: `CONFIRMED`, `REFUTED` or `NOT_SETTLED`.
        means: what that means for who uses pullpass, or what would settle it.
        brief: what was seen in a few words, without names of accounts, roles, projects or images.
    """

    verdict: str
    means: str
    brief: str


class Finding(NamedTuple):
    """A claim, tried.

    Attributes:
        claim: the claim.
        did: what was done, in order.
        saw: what came of it.
        outcome: verdict and meaning.
    """

    claim: Claim
    did: tuple[str, ...]
    saw: tuple[str, ...]
    outcome: Outcome


class Unsettled(Exception):  # noqa: N818 - not every question can be answered everywhere; that is no error
    """The claim can't be settled this time."""

    def __init__(self, means: str, brief: str) -> None:
        """Say what would settle it, and in a few words what was in the way; see `Outcome`."""
        super().__init__(brief)
        self.outcome = Outcome(NOT_SETTLED, means, brief)


class Notes:
    """What happens while a claim is tried."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.done: list[str] = []
        self.seen: list[str] = []

    def did(self, text: str) -> None:
        """Note an action, before it is taken."""
        self.done.append(text)

    def saw(self, text: str) -> None:
        """Note what came."""
        self.seen.append(text)


def settle(claim: Claim, work: Callable[[Notes], Outcome]) -> Finding:
    """Try a claim. What pullpass itself refuses on the way, or the cloud, leaves the claim open."""
    notes = Notes()
    try:
        outcome = work(notes)
    except Unsettled as unsettled:
        outcome = unsettled.outcome
    except PullpassError as error:
        notes.saw(f"{error.code}: {error.what}")
        outcome = Outcome(NOT_SETTLED, f"It stopped before there was an answer. Next: {error.hint}.", error.code)
    return Finding(claim, tuple(notes.done), tuple(notes.seen), outcome)


def hide(text: str, secrets: Iterable[Secret]) -> str:
    """`text` without secrets, and without the parts of them between dots: the cloud's words may quote what was sent."""
    for secret in secrets:
        for part in (secret.reveal(), *secret.reveal().split(".")):
            if len(part) >= PART_CHARS:
                text = text.replace(part, HIDDEN)
    return text

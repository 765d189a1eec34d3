"""`pullpass approvals`: what is stored about credentials that were handed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pullpass import config, patterns
from pullpass.approvals import APPROVED, DENIED, EXPIRED, LIVING, ends_s, order_form, orders
from pullpass.clock import SystemClock
from pullpass.commands import Output, Subcommand, showing
from pullpass.config.checks import duration_ns
from pullpass.errors import ANSWERED, PullpassError, escape, number_of, outside, shell_word
from pullpass.upkeep import detail, faults, listing, pruning

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from pullpass.config import Config
    from pullpass.upkeep.listing import Item, Outlook, Seen, Wanted
    from pullpass.upkeep.pruning import Pruned, Wish

DESCRIPTION = """The approvals on this node: which service account was given a credential as which identity, for which
repositories, and until when that counts. docs/approvals.md has their format, and what becomes of each."""
EXAMPLE = """  pullpass approvals list --service-account 'team-a/*' --living
  pullpass approvals prune --dry-run"""

HEADINGS = (
    "KEY",
    "SERVICE ACCOUNT",
    "IDENTITY",
    "OPENS",
    "STANDING",
    "VALIDATED",
    "EXPIRES",
    "ROTATIONS",
    "REPOSITORIES",
)  # fmt: skip
# What `show` says of an order's effect.
EFFECTS = {
    detail.REFUSES: "requests that it selects are refused",
    detail.VOIDS: "voids it",
    detail.VALIDATED: "it was validated under it",
}
SHOWN_CHARS = 12  # of a key: enough to name it, and `show` takes the beginning


def _glob(check: Callable[[str], None]) -> Callable[[str], str]:
    """A reader of globs for the command line; what it refuses is a `PullpassError`, `usage`.

    Args:
        check: raises `ValueError` on one that could match nothing.
    """

    def read(text: str) -> str:
        try:
            check(text)
        except ValueError as error:
            raise PullpassError("usage", f"the glob {outside(text)}: {outside(str(error))}") from None
        return text

    return read


def _duration_s(text: str) -> float:
    """A duration on the command line, in seconds; what is none is a `PullpassError`, `usage`."""
    try:
        return duration_ns(text) / 10**9
    except ValueError:
        raise PullpassError("usage", f"{outside(text)} is no duration such as 90s, 12h, 7d") from None


# --- list


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--service-account",
        metavar="NS/NAME",
        type=_glob(patterns.check_service_account_glob),
        help="a glob, as in a grant; an approval without a token is none of any",
    )
    parser.add_argument(
        "--image", metavar="GLOB", type=_glob(order_form.check_image), help="HOST/REPOSITORY, as in an order"
    )
    parser.add_argument(
        "--identity",
        metavar="GLOB",
        type=_glob(order_form.check_identity),
        help="what the workload became: a role ARN, an e-mail, ...",
    )
    parser.add_argument("--state", choices=(APPROVED, DENIED), default="", help="as it is stored")
    standing = parser.add_mutually_exclusive_group()
    standing.add_argument(
        "--living", dest="standing", action="store_const", const=LIVING, default="", help="those that count now"
    )
    standing.add_argument(
        "--expired", dest="standing", action="store_const", const=EXPIRED, help="those whose time is over"
    )


def _list(arguments: argparse.Namespace) -> Output:
    settings = config.load(arguments.config)
    outlook = listing.outlook(settings, SystemClock().now_s())
    wanted = listing.Wanted(
        arguments.service_account or "",
        arguments.image or "",
        arguments.identity or "",
        arguments.state,
        arguments.standing,
    )
    seen = listing.Seen()
    items = _items(settings, outlook, wanted, seen)
    nothing = "no approvals match ({} in all)" if wanted != listing.Wanted() else "no approvals"
    return Output(
        ANSWERED, map(listing.document, items), _list_text(items, outlook, seen, nothing, arguments.other_config)
    )


def _under(other_config: str) -> str:
    """What follows a command that is told, so that it works when it is copied."""
    return f" --config {shell_word(other_config)}" if other_config else ""


def _items(settings: Config, outlook: Outlook, wanted: Wanted, seen: Seen) -> Iterator[Item]:
    with faults(settings.paths):
        yield from listing.items(settings, outlook, wanted, showing.progress("approvals read"), seen)


def _list_text(items: Iterator[Item], outlook: Outlook, seen: Seen, nothing: str, other_config: str) -> Iterator[str]:
    rows = (_row(item, outlook) for item in items)
    yield from showing.table(HEADINGS, rows, lambda: nothing.format(seen.approvals))
    if seen.unreadable:
        verb = "counts" if seen.unreadable == 1 else "count"
        yield (
            f"{number_of(seen.unreadable, 'file')} can't be read and {verb} for nothing; why, and what to do: "
            f"`pullpass approvals show {shell_word(seen.first_unreadable)}{_under(other_config)}`"
            f"{'' if seen.unreadable == 1 else ' for the first'}\n"
        )
    if outlook.problem:
        problem = outlook.problem
        hint = problem.under(other_config).hint if isinstance(problem, orders.UnreadableOrdersError) else problem.hint
        yield f"{escape(problem.what)}; {escape(hint)}\n"


def _row(item: Item, outlook: Outlook) -> tuple[str, ...]:
    approval, key = item.approval, item.key[:SHOWN_CHARS]
    if approval is None:
        return key, "", "", "", f"{item.standing}: {item.problem}", "", "", "", ""
    return (
        key,
        listing.account(approval),
        approval.identity,
        approval.opens,
        item.standing,
        showing.second(approval.last_validated_s),
        showing.second(approval.expires_s and ends_s(approval, outlook.times)),
        str(approval.rotations),
        str(len(approval.repositories)),
    )


# --- show


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help=f"its key, or the first {detail.PREFIX_CHARS} characters or more")


def _show(arguments: argparse.Namespace) -> Output:
    settings = config.load(arguments.config)
    outlook = listing.outlook(settings, SystemClock().now_s())
    with faults(settings.paths):
        item = detail.find(settings, outlook, arguments.key)
        document = detail.document(settings, item, outlook, arguments.other_config)
    return Output(ANSWERED, document, "".join(f"{escape(line)}\n" for line in _shown(document)))


def _shown(document: dict[str, Any]) -> Iterator[str]:
    """The document for people, one fact a line."""
    yield _fact("file", document["file"])
    yield _fact("standing", document["standing"])
    yield _fact("next", document["next"])
    if document["problem"]:
        yield _fact("problem", f"it {document['problem']}")
        yield _fact("remedy", document["remedy"])
    yield from _stored(document["approval"] or {})
    yield from _coming(document)
    for repository in document["repositories"]:
        yield _fact("repository", f"{repository['image']}, by grant {repository['grant']!r} since "
                    f"{repository['firstApproved']}: {repository['standing']}")  # fmt: skip
    for order in document["orders"]:
        told = f"order {order['id']} by {order['by']}, {order['reason']}: {EFFECTS[order['effect']]}"
        yield _fact(order["action"], told)
    cache = document["cache"]
    if cache:
        there = "opens" if cache["decrypts"] else "does not open" if cache["present"] else "absent"
        yield _fact("cache entry", f"{cache['file']}: {there}")
        if cache["problem"]:
            yield _fact("cache problem", cache["problem"])


def _coming(document: dict[str, Any]) -> Iterator[str]:
    """The moments that are coming, as far as they are true of this one."""
    if document["stands"] and document["standing"] == EXPIRED:
        yield _fact("stood until", document["stands"])
    elif document["stands"]:
        yield _fact("stands until", document["stands"])
        if document["cache"]["decrypts"]:
            never = "its end: not ahead, so the next request after it makes the exchange, and its pod waits"
            yield _fact("renewed from", document["renewedFrom"] or never)
    if document["usedUntil"]:
        yield _fact("used until", f"{document['usedUntil']}, should the cloud be out of reach")


def _stored(stored: dict[str, Any]) -> Iterator[str]:
    account = stored.get("serviceAccount")
    if stored:
        who = f"{account['namespace']}/{account['name']}, uid {account['uid']}" if account else "(no token)"
        yield _fact("service account", who)
    evidence, cloud = stored.get("evidence") or {}, stored.get("cloud") or {}
    facts = {
        "issuer": stored.get("issuer"),
        "cluster": stored.get("cluster"),
        "identity": stored.get("identity"),
        "opens": stored.get("opens"),
        "state": stored.get("state"),
        "denied": stored.get("deniedAt") and f"{stored['deniedAt']}, {stored['deniedCode']}",
        "first approved": stored.get("firstApproved"),
        "last validated": stored.get("lastValidated"),
        "expires": stored.get("expires"),
        "password ends": stored.get("registryExpires"),
        "session ends": stored.get("sessionExpires"),
        "cloud unreachable": stored.get("unreachableAt"),
        "rotations": str(stored["rotations"]) if stored else None,
        "credential hash": stored.get("credentialHash"),
        "hashes before": ", ".join(stored.get("previousHashes", ())),
        "validated under": ", ".join(stored.get("validatedUnder", ())),
        "pod": evidence.get("pod"),
        "token id": evidence.get("jti"),
        "token hash": evidence.get("tokenHash"),
        "token expires": evidence.get("tokenExpires"),
        "principal": cloud.get("principal"),
        "access key id": cloud.get("accessKeyId"),
        "request ids": ", ".join(cloud.get("requestIds", ())),
    }
    yield from (_fact(name, value) for name, value in facts.items() if value)


def _fact(name: str, value: str) -> str:
    return f"{name:<18} {value}"


# --- prune


def _prune_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--older-than",
        metavar="D",
        type=_duration_s,
        default=pruning.DAY_S,
        help="for how long it must have been over (default 24h); approval.outage at least, while which it may count on",
    )
    parser.add_argument("--unreadable", action="store_true", help="remove files that are no approvals as well")
    parser.add_argument("--dry-run", action="store_true", help="only count")


def _prune(arguments: argparse.Namespace) -> Output:
    settings = config.load(arguments.config)
    wish = pruning.Wish(arguments.older_than, arguments.unreadable, arguments.dry_run)
    done = pruning.prune(settings, SystemClock(), wish, showing.progress("approvals read"))
    raised_s = pruning.raised_s(settings.approval, wish.older_than_s)
    document = {
        "dryRun": wish.dry_run,
        "olderThanSeconds": wish.older_than_s,
        "raisedToSeconds": raised_s,
        "removed": done.removed,
        "unreadable": done.unreadable,
        "leftUnreadable": done.left_unreadable,
        "busy": done.busy,
        "intents": done.intents,
        "leftovers": done.leftovers,
    }
    return Output(
        ANSWERED, document, "".join(f"{line}\n" for line in _pruned(done, wish, raised_s, arguments.other_config))
    )


def _pruned(done: Pruned, wish: Wish, raised_s: float | None, other_config: str) -> Iterator[str]:
    verb = "would be removed" if wish.dry_run else "removed"
    if raised_s is not None:
        asked, counted = showing.duration(wish.older_than_s), showing.duration(raised_s)
        why = "for so long they may count on while the cloud is out of reach"
        yield f"approvals: {asked} was raised to {counted}, approval.outage: {why}; denials: {asked}"
    yield (
        number_of(done.removed, "approval")
        + f" {verb}"
        + (f", {done.unreadable} of them unreadable" if done.unreadable else "")
    )
    left = f"{number_of(done.intents, 'intent')} and {number_of(done.leftovers, 'temporary file')}"
    yield f"{left} that crashes had left {verb}"
    if done.busy:
        yield f"{done.busy} in use, and left for the next time"
    if done.left_unreadable:
        left = number_of(done.left_unreadable, "file")
        yield f"{left} left that can't be read, see `pullpass approvals list{_under(other_config)}`"


SUBCOMMANDS = {
    "list": Subcommand(
        "approvals and how they stand, files that are none as well",
        "  pullpass approvals list --service-account 'team-a/*' --living\n"
        "  pullpass approvals list --json | jq -r '.[] | select(.state == \"denied\") | .id'",
        _list_arguments,
        _list,
    ),
    "show": Subcommand(
        "everything about one, and what would come of it now; what policy says now: `pullpass explain`",
        "  pullpass approvals show 3f9a1c22",
        _show_arguments,
        _show,
    ),
    "prune": Subcommand(
        "remove approvals that are over, each after its line in the audit trail, and what crashes have left",
        "  pullpass approvals prune --older-than 7d --dry-run",
        _prune_arguments,
        _prune,
    ),
}

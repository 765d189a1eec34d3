"""Approvals: what is written is read again and valid, and the schema refuses nothing that the reader takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import pullpass
from factories import make_approval, make_config
from pullpass import approvals
from pullpass.approvals import APPROVED, DENIED, EXPIRED, LIVING, REMEMBERED, VOIDED, Approval, Repository, codec
from pullpass.store.strict import DocumentError

VALIDATOR = Draft202012Validator(json.loads((Path(pullpass.__file__).parent / "schemas" / "approval.json").read_text()))

# --- approvals as the program makes them

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
# To the microsecond, which is what a file holds; not the epoch itself, which stands for a moment that never came.
MOMENTS = st.integers(1, 4_000_000_000_000_000).map(lambda micros: micros / 1_000_000)
LATER = MOMENTS | st.just(0.0)
MOMENT_NAMES = ("registry_expires_s", "session_expires_s", "first_approved_s", "last_validated_s", "expires_s")
COMMON: dict[str, Any] = {
    "key": HASHES,
    "cluster": NAMES,
    "issuer": TEXTS,
    "identity": TEXTS,
    "opens": TEXTS,
    "validated_by": TEXTS,
    "validated_under": st.lists(NAMES, max_size=3).map(tuple),
    "rotations": st.integers(0, 2**63),
    "previous_hashes": st.lists(HASHES, max_size=8).map(tuple),
    "repositories": st.dictionaries(TEXTS, st.builds(Repository, MOMENTS, TEXTS), max_size=3),
    "principal": TEXTS,
    "access_key_id": TEXTS,
    "request_ids": st.lists(TEXTS, max_size=3).map(tuple),
    "unreachable_at_s": st.none() | MOMENTS,
}
ACCOUNTS = st.fixed_dictionaries({"namespace": NAMES, "service_account": NAMES, "uid": TEXTS}) | st.just(
    {"namespace": "", "service_account": "", "uid": ""}
)
TOKENS = st.fixed_dictionaries(
    {"token_hash": HASHES, "jti": TEXTS, "pod": TEXTS, "token_expires_s": MOMENTS}
) | st.just({"token_hash": "", "jti": "", "pod": "", "token_expires_s": 0.0})
APPROVALS = st.fixed_dictionaries(
    {**COMMON, "state": st.just(APPROVED), "credential_hash": HASHES, **dict.fromkeys(MOMENT_NAMES, MOMENTS)}
)
DENIALS = st.fixed_dictionaries(
    {
        **COMMON,
        **dict.fromkeys(MOMENT_NAMES, LATER),
        "state": st.just(DENIED),
        "credential_hash": HASHES | st.just(""),
        "denied_at_s": LATER,
        "denied_code": TEXTS,
    }
)
ANY = st.builds(lambda *parts: Approval(**{k: v for part in parts for k, v in part.items()}),
                APPROVALS | DENIALS, ACCOUNTS, TOKENS)  # fmt: skip


@given(ANY)
def test_what_is_written_is_read_again(approval: Approval) -> None:
    """Every member, to the microsecond; and it is valid, one line, and in ASCII."""
    raw = codec.render(approval)
    assert codec.parse(raw) == approval
    assert raw.isascii()
    assert raw.index(b"\n") == len(raw) - 1
    VALIDATOR.validate(json.loads(raw))


# --- documents that are nearly right

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.floats(0, 4),
    st.sampled_from(["", "x", "approved", "denied", "0" * 64, "0" * 64 + "\n", "F" * 64, "pullpass/v1"]),
    st.sampled_from(
        ["2027-01-15T08:00:00Z", "2027-01-15T08:00:00.5Z", "2027-02-30T08:00:00Z", "2027-01-15T08:00:00Z\n",
         "2027-01-15t08:00:00Z", "2027-01-15T08:00:00", "1970-01-01T00:00:00Z", "٢٠٢٧-01-15T08:00:00Z"]
    ),
    st.lists(st.sampled_from(["x", "0" * 64, 1, None]), max_size=2),
    st.dictionaries(st.sampled_from(["namespace", "firstApproved", "x"]), st.none() | st.just("x"), max_size=2),
)  # fmt: skip
MEMBERS = sorted({*codec.document(make_approval()), "deniedAt", "deniedCode", "unreachableAt", "new"})
STARTS = [
    codec.document(make_approval()),
    codec.document(make_approval(state=DENIED, denied_at_s=1.5, denied_code="aws-sts-denied")),
]


@given(
    st.sampled_from(STARTS),
    st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=3),
    st.sets(st.sampled_from(MEMBERS), max_size=1),
)
def test_the_schema_refuses_nothing_that_the_reader_takes(
    start: dict[str, Any], laid_over: dict[str, Any], left_out: set[str]
) -> None:
    """What an auditor's validator refuses, no request is served from."""
    written = {name: value for name, value in (start | laid_over).items() if name not in left_out}
    try:
        read = codec.parse(json.dumps(written).encode())
    except DocumentError:
        return
    VALIDATOR.validate(written)
    assert codec.parse(codec.render(read)) == read


# --- whether one stands

TIMES = make_config().approval
# Around `max_age`, where the answers change: moments drawn from all of time would hardly ever meet there.
SPANS = st.integers(-3, 3) | st.integers(0, 9000) | st.integers(-3, 3).map(lambda off_s: int(TIMES.max_age_s) + off_s)


@settings(max_examples=1000)
@given(ANY, SPANS, SPANS, st.lists(NAMES, max_size=1))
def test_only_one_that_lives_by_every_rule_is_served(drawn: Approval, age_s: int, life_s: int, more: list[str]) -> None:
    """Said once more: not denied, not from the future, not over, not older than `max_age`, made under each order."""
    approval = drawn._replace(expires_s=drawn.last_validated_s + life_s)
    now_s, required = drawn.last_validated_s + age_s, [*drawn.validated_under[:1], *more]
    standing = approvals.judge(approval, now_s, required, TIMES)
    lives = (
        approval.state == APPROVED
        and 0 <= age_s < min(life_s, TIMES.max_age_s)
        and set(required) <= set(approval.validated_under)
    )
    assert (standing == LIVING) == lives
    if approval.state == DENIED:
        assert standing in {REMEMBERED, EXPIRED}
    if standing == VOIDED:
        assert not set(required) <= set(approval.validated_under)
    if approvals.may_outlive(approval, now_s, TIMES):
        assert approval.state == APPROVED
        assert now_s + TIMES.min_life_s <= approval.registry_expires_s
        assert now_s < approval.expires_s + TIMES.outage_s

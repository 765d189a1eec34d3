"""Orders as a request reads them: what is refused, what is in force, what matches."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ordering import IMAGE, ROLE, make_document, make_list, make_order, plant
from pullpass.approvals import order_store, orders
from pullpass.errors import PullpassError
from pullpass.identity import Subject
from support import NOW_S

if TYPE_CHECKING:
    from pathlib import Path

WEB = Subject("https://issuer.test", "team-a", "web", "uid-1", "web-1", "node-1", ("aud",), NOW_S + 60, "jti")


def refused(state: Path) -> str:
    """The error that reading the orders ends with."""
    with pytest.raises(PullpassError) as caught:
        orders.read(str(state))
    assert (caught.value.code, caught.value.status) == ("order-unreadable", 6)
    return caught.value.what


def hint(state: Path, config: str = "") -> str:
    """What that error says is to be done."""
    with pytest.raises(orders.UnreadableOrdersError) as caught:
        orders.read(str(state))
    return caught.value.under(config).hint


# --- reading


def test_no_directory_is_no_orders(tmp_path: Path) -> None:
    """Neither is a state directory that does not exist."""
    assert orders.read(str(tmp_path)) == ()
    assert orders.read(str(tmp_path / "absent")) == ()


def test_local_and_remote_orders_are_read(tmp_path: Path) -> None:
    """Every one, and each knows where it came from."""
    plant(tmp_path, "a.json", make_document("a", action="block"))
    plant(tmp_path, "b.json", make_document("b"))
    plant(tmp_path, "remote.json", make_list(make_document("c")))
    found = orders.read(str(tmp_path))
    assert {(order.id, order.action, order.remote) for order in found} == {
        ("a", "block", False),
        ("b", "revalidate", False),
        ("c", "revalidate", True),
    }


def test_an_empty_directory_and_names_with_a_dot_are_no_orders(tmp_path: Path) -> None:
    """Temporary files, the lock and notes are ours."""
    for name in (".a.json.1.00.tmp", ".lock", ".change.json"):
        plant(tmp_path, name, b"half")
    assert orders.read(str(tmp_path)) == ()


@pytest.mark.parametrize(
    "name", ["a", "a.txt", "a.json~", "A.json", "a b.json", "a_b.json", f"{'a' * 65}.json", "json"]
)
def test_a_foreign_file_is_named(name: str, tmp_path: Path) -> None:
    """It may be an order under a mistyped name."""
    plant(tmp_path, name, make_document())
    assert f"{tmp_path}/orders/{name}: is no file of pullpass" in refused(tmp_path)


def test_a_name_is_shown_escaped(tmp_path: Path) -> None:
    """Nobody writes lines into a log by a file's name."""
    plant(tmp_path, "x\nfake", b"")
    assert "x\\nfake: is no file" in refused(tmp_path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b'{"apiVersion":"pullpass/v1"', "is not JSON"),
        (b"[]", "is an array, expected an object"),
        (b"null", "is null, expected an object"),
        (make_document("other"), "its id is other, and the file's name says o-1"),
        (make_document(apiVersion="pullpass/v2"), 'apiVersion is "pullpass/v2", expected pullpass/v1'),
        (make_document(surprise=1), 'unknown key "surprise"'),
        (b" " * (64 * 1024 + 1), "longer than 65536 bytes"),
    ],
)
def test_what_is_no_order_is_named(content: bytes | dict[str, Any], why: str, tmp_path: Path) -> None:
    """The file and the reason."""
    plant(tmp_path, "a-good-one.json", make_document("a-good-one"))
    plant(tmp_path, "o-1.json", content)
    what = refused(tmp_path)
    assert what.startswith(f"{tmp_path}/orders/o-1.json: ")
    assert why in what


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (make_document("remote"), 'kind is "PullOrder", expected PullOrderList'),
        (make_list(make_document("a"), make_document("a")), "the id a is there twice"),
        (make_list(make_document("a"), make_document("b", by="")), "item 2: by is"),
        (b"{}{}", "second document"),
    ],
)
def test_a_remote_set_that_is_none_is_named(content: bytes | dict[str, Any], why: str, tmp_path: Path) -> None:
    """It is believed as a whole or not."""
    plant(tmp_path, "remote.json", content)
    what = refused(tmp_path)
    assert what.startswith(f"{tmp_path}/orders/remote.json: ")
    assert why in what


def test_an_id_can_not_be_both_local_and_remote(tmp_path: Path) -> None:
    """An approval that remembers the id could not say which."""
    plant(tmp_path, "a.json", make_document("a"))
    plant(tmp_path, "remote.json", make_list(make_document("a")))
    remote = make_document("a", action="block", selector={"image": "*/x", "serviceAccount": "b/*"}, by="bob")
    plant(tmp_path, "remote.json", make_list(remote))
    assert refused(tmp_path) == (
        f"{tmp_path}/orders/a.json: there is a remote order of the same id, in {tmp_path}/orders/remote.json: this one "
        "is a revalidate of everything by alice, that one a block of image */x and service account b/* by bob"
    )
    assert "or remove this file by `pullpass orders lift a`" in hint(tmp_path)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("a.json", "pullpass orders lift a"),
        ("A.json", "pullpass orders lift A.json"),
        ("a b.json", "pullpass orders lift 'a b.json'"),
        ("it's", "pullpass orders lift 'it'\\''s'"),
        ("x\ny", "pullpass orders lift $'x\\x0ay'"),
        ("remote.json", "pullpass orders sync --from DIR"),
    ],
)
def test_the_hint_can_be_copied(name: str, command: str, tmp_path: Path) -> None:
    """It names the very file, whatever its name, and the configuration where that is needed."""
    plant(tmp_path, name, b"{")
    assert f"file by `{command}`" in hint(tmp_path)
    assert f"file by `{command} --config '/a b/c.toml'`" in hint(tmp_path, "/a b/c.toml")
    with pytest.raises(orders.UnreadableOrdersError) as caught:
        orders.read(str(tmp_path))
    assert caught.value.line().count("\n") == 0
    words = ["bash", "-c", f'printf "%s\\0" {command}']
    shown = subprocess.run(words, capture_output=True, check=True).stdout.split(b"\0")
    assert shown[3] in {name.encode(), name.removesuffix(".json").encode(), b"--from"}


@pytest.mark.parametrize("name", ["o-1.json", "remote.json"])
def test_what_others_may_write_is_refused(name: str, tmp_path: Path) -> None:
    """A file by its mode; a link is not followed; a pipe does not stop the run; a directory is no file."""
    path = plant(tmp_path, name, make_document() if name == "o-1.json" else make_list())
    assert len(orders.read(str(tmp_path))) == (name == "o-1.json")
    path.chmod(0o620)
    assert f"{path}: belongs to user {os.geteuid()} and has mode 0620, expected user" in refused(tmp_path)
    assert f"`chmod 0600 {path}`" in hint(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert "can't be read: Too many levels of symbolic links" in refused(tmp_path)
    path.unlink()
    os.mkfifo(path)
    assert "not a regular file" in refused(tmp_path)
    path.unlink()
    path.mkdir()
    assert "not a regular file" in refused(tmp_path)


def test_a_directory_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """They could take a block away."""
    plant(tmp_path, "o-1.json", make_document())
    (tmp_path / "orders").chmod(0o770)
    assert f"orders: belongs to user {os.geteuid()} and has mode 0770, expected user" in refused(tmp_path)
    assert hint(tmp_path).startswith("a block may be missing, so nothing is answered: see whether")
    assert hint(tmp_path).endswith(f"see whether others have changed it, then `chmod 0700 {tmp_path}/orders`")


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    """Also a link to one, and a state directory that is a file."""
    (tmp_path / "orders").symlink_to(tmp_path)
    assert "orders: is not a directory" in refused(tmp_path)
    (tmp_path / "file").touch()
    assert "orders: can't be read: Not a directory" in refused(tmp_path / "file")


@pytest.mark.needs("root")
@pytest.mark.parametrize("what", ["", "o-1.json"])
def test_what_belongs_to_somebody_else_is_refused(what: str, tmp_path: Path) -> None:
    """Whatever its mode."""
    plant(tmp_path, "o-1.json", make_document())
    path = tmp_path / "orders" / what
    os.chown(path, 65534, 65534)
    mode = "0600" if what else "0700"
    assert f"belongs to user 65534 and has mode {mode}, expected user 0, and nobody else" in refused(tmp_path)
    command = hint(tmp_path).split("`")[1]
    assert command == f"chown 0 {path} && chmod {mode} {path}"
    subprocess.run(["sh", "-c", command], check=True)
    assert len(orders.read(str(tmp_path))) == 1


def test_an_order_that_was_lifted_since_its_name_was_read_is_none(tmp_path: Path) -> None:
    """The reader may be between the two."""
    plant(tmp_path, "a.json", make_document("a"))
    assert orders.local_names(str(tmp_path)) == ("a.json",)
    assert orders.read_named(str(tmp_path), ("b.json", "a.json")) == orders.read(str(tmp_path))
    assert orders.read_remote(str(tmp_path)) is None


def test_an_order_may_vanish_while_it_is_read(tmp_path: Path) -> None:
    """A dangling name is what a listing sees of a file that was removed just after it."""
    place = tmp_path / "orders"
    place.mkdir(mode=0o700)
    names = [f"o-{number}" for number in range(200)]
    for name in names:
        plant(tmp_path, f"{name}.json", make_document(name))
    child = os.fork()
    if not child:
        for name in names:
            os.unlink(place / f"{name}.json")
        os._exit(0)
    left = [len(orders.read(str(tmp_path))) for _ in range(20)]
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(left, reverse=True) == left
    assert orders.read(str(tmp_path)) == ()


@pytest.mark.parametrize("orders_too", [True, False])
def test_under_a_directory_that_others_may_change_no_orders_are_listed(orders_too: bool, tmp_path: Path) -> None:
    """No request believes them either."""
    state = tmp_path / "state"
    state.mkdir()
    if orders_too:
        plant(state, "a.json", make_document("a"))
    state.chmod(0o777)
    with pytest.raises(PullpassError, match=r"state-path: .*/state may be written by others \(mode 0777\)"):
        order_store.listing(str(state), NOW_S)
    state.chmod(0o700)
    assert len(order_store.listing(str(state), NOW_S)) == orders_too


# --- in force


@pytest.mark.parametrize(
    ("members", "at", "expected"),
    [
        ({}, 0.0, True),
        ({"notBefore": "2027-01-15T08:00:00Z"}, NOW_S, True),
        ({"notBefore": "2027-01-15T08:00:00.000001Z"}, NOW_S, False),
        ({"expires": "2027-01-15T08:00:00Z"}, NOW_S, False),
        ({"expires": "2027-01-15T08:00:00.000001Z"}, NOW_S, True),
        ({"notBefore": "2027-01-15T07:00:00Z", "expires": "2027-01-15T09:00:00Z"}, NOW_S, True),
        ({"created": "2099-01-01T00:00:00Z"}, NOW_S, True),
    ],
)
def test_an_order_is_in_force_between_its_moments(members: dict[str, Any], at: float, expected: bool) -> None:
    """From `notBefore` on, up to and without `expires`; when it was written decides nothing."""
    order = make_order(**members)
    assert bool(orders.in_force([order], at)) is expected


def test_an_exchange_is_made_under_all_revalidations() -> None:
    """Whatever they select, and no block; in an order that files can be compared by."""
    found = [make_order("b"), make_order("a", selector={"image": "other.test/x"}), make_order("c", action="block")]
    assert orders.revalidate_ids(found) == ("a", "b")


# --- matching

ACCOUNTS = [
    ("team-a/web", True), ("team-a/*", True), ("*/web", True), ("*/*", True), ("team-*/w*b", True),
    ("team-a/we", False), ("team/web", False), ("team-b/*", False), ("*/job", False),
]  # fmt: skip
IMAGES = [
    (IMAGE, True), ("*/team-a/app", True), ("**/app", True), ("*.amazonaws.com/**", True), ("*/**", True),
    ("111122223333.dkr.ecr.us-west-2.amazonaws.com/team-a/*", True), ("*/*/app", True), ("**", None),
    ("111122223333.dkr.ecr.us-west-2.amazonaws.com/team-a", False), ("*/team-b/**", False), ("*/app", False),
    (f"{IMAGE}/**", False),
]  # fmt: skip
IDENTITIES = [
    (ROLE, True), ("arn:aws:iam::*:role/pull/*", True), ("arn:aws:iam::111122223333:role/**", True), ("**", True),
    ("**/team-a", True), ("arn:*/*/*", True), ("*", False), ("arn:aws:iam::111122223333:role/*", False),
    ("arn:aws:iam::111122223333:role/pull/team-a/**", False), ("principal", False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "glob", "expected"), [
    *(("serviceAccount", *case) for case in ACCOUNTS),
    *(("image", *case) for case in IMAGES if case[1] is not None),
    *(("identity", *case) for case in IDENTITIES),
])  # fmt: skip
def test_a_selector_matches(name: str, glob: str, expected: bool) -> None:
    """One glob alone, against one request."""
    assert orders.matches(make_order(selector={name: glob}), "team-a", "web", IMAGE, ROLE) is expected


@pytest.mark.parametrize("image", [True, False])
@pytest.mark.parametrize("account", [True, False])
@pytest.mark.parametrize("identity", [True, False])
def test_globs_are_joined_by_and(image: bool, account: bool, identity: bool) -> None:
    """Each must match."""
    selector = {
        "image": "*/team-a/**" if image else "*/team-b/**",
        "serviceAccount": "team-a/*" if account else "team-b/*",
        "identity": "**/team-a" if identity else "node",
    }
    assert orders.matches(make_order(selector=selector), "team-a", "web", IMAGE, ROLE) is (
        image and account and identity
    )


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"all": True}, True),
        ({"image": "*/team-a/**"}, True),
        ({"identity": "node"}, True),
        ({"serviceAccount": "*/*"}, False),
        ({"serviceAccount": "*/*", "identity": "node"}, False),
    ],
)
def test_a_request_without_a_token_has_no_service_account(selector: dict[str, Any], expected: bool) -> None:
    """So no glob of service accounts selects it, and every other one may."""
    order = make_order(selector=selector, action="block")
    assert orders.matches(order, "", "", IMAGE, "node") is expected
    if not expected:
        assert orders.applying([order], None, IMAGE, "node") == ()
        return
    with pytest.raises(PullpassError, match="blocks a request without a token, image"):
        orders.applying([order], None, IMAGE, "node")


def test_matching_revalidations_apply() -> None:
    """Those that match, sorted, and not those that don't."""
    found = [
        make_order("b"),
        make_order("a", selector={"image": "*/team-a/**"}),
        make_order("c", selector={"identity": "x"}),
    ]
    assert orders.applying(found, WEB, IMAGE, ROLE) == ("a", "b")
    assert orders.applying(found, None, "other.test/x", "anonymous") == ("b",)
    assert orders.applying((), WEB, IMAGE, ROLE) == ()


def test_a_block_refuses_with_its_reason() -> None:
    """The first by id is named, whoever else blocks; text from outside can't write lines."""
    found = [
        make_order("a"),
        make_order(
            "c", action="block", reason="CVE-1\nfake: line", by="bob", selector={"serviceAccount": "team-a/web"}
        ),
        make_order("d", action="block"),
    ]
    with pytest.raises(PullpassError) as caught:
        orders.applying(found, WEB, IMAGE, ROLE)
    assert (caught.value.code, caught.value.status) == ("blocked-by-order", 3)
    assert caught.value.what == (
        f"order c by bob blocks service account team-a/web, image {IMAGE}, as {ROLE}: CVE-1\\nfake: line"
    )


def test_a_block_that_does_not_match_refuses_nothing() -> None:
    """The anonymous identity is one like the others."""
    block = make_order(action="block", selector={"identity": "anonymous"})
    assert orders.applying([block], WEB, IMAGE, ROLE) == ()
    with pytest.raises(PullpassError, match="as anonymous"):
        orders.applying([block], WEB, IMAGE, "anonymous")

"""What docs/orders.md shows is what the program takes."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import yaml

from contract import pages
from pullpass.approvals import order_form, order_sync, orders
from pullpass.cli import build_parser
from pullpass.errors import CODES

PAGE = "orders.md"


def decoded(text: str) -> tuple[Any, ...]:
    """The orders in a document of the page."""
    document = json.loads(text)
    is_list = document["kind"] == order_form.LIST_KIND
    return order_form.decode_list(document) if is_list else (order_form.decode(document),)


@pytest.mark.parametrize("block", pages.blocks(PAGE, "json"), ids=lambda block: block.where)
def test_the_documents_are_orders(block: pages.Block) -> None:
    """Each is read as it stands there."""
    assert decoded(block.text)


def test_the_config_map_is_a_set() -> None:
    """Its keys are files of orders, and its mount and the command's directory are the same place."""
    (block,) = pages.blocks(PAGE, "yaml")
    config_map, daemon_set = yaml.safe_load_all(block.text)
    assert all(name.endswith(".json") and decoded(text) for name, text in config_map["data"].items())
    pod = daemon_set["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["orders"]["configMap"]["name"] == config_map["metadata"]["name"]
    assert f"pullpass orders sync --from {mounts['orders']} --by configmap;" in container["args"][0]
    assert set(mounts) == set(volumes)
    assert daemon_set["spec"]["selector"]["matchLabels"] == daemon_set["spec"]["template"]["metadata"]["labels"]


def commands() -> list[str]:
    """Every call of the program on the page, but those that only name a command."""
    lines = [line for block in pages.blocks(PAGE, "bash") for line in block.text.splitlines()]
    units = [line.partition("=")[2] for block in pages.blocks(PAGE, "ini") for line in block.text.splitlines()]
    return lines + [line for line in units if line.startswith("/")]


@pytest.mark.parametrize("line", commands())
def test_the_commands_are_taken(line: str) -> None:
    """With their options."""
    program, *words = shlex.split(line)
    assert program.rpartition("/")[2] == "pullpass"
    assert build_parser(words[0]).parse_args(words).command == words[0]


def test_the_numbers_and_codes_are_the_programs() -> None:
    """Limits, and the errors that are named."""
    text = pages.text(PAGE)
    for number in (order_form.ID_MAX_CHARS, order_form.REASON_MAX_CHARS, order_form.BY_MAX_CHARS):
        assert f" {number} " in text
    assert f"{orders.LIMIT:,} local orders" in text
    assert f"{orders.LIMIT:,} in the remote set" in text
    assert order_sync.DATA in text
    named = {code for code in CODES if f"`{code}`" in text}
    ours = {"order-conflict", "order-remote", "order-set", "order-unreadable"}
    assert named == ours | {"state-path", "trail-unwritable"}

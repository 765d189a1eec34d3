"""What the tests of the set-up pages share: the pages, and the example that goes through each."""

from __future__ import annotations

import json
import re
import time
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from cloud.tokens import compact, pod_claims
from contract import pages
from pullpass.config import schema

if TYPE_CHECKING:
    from cloud.tokens import Issuer
    from pullpass.config import Config

AWS_PAGE, GOOGLE_PAGE, NODE_PAGE, OPEN_PAGE = "setup-aws.md", "setup-google.md", "setup-node.md", "unconfirmed.md"
PAGES = (AWS_PAGE, GOOGLE_PAGE, NODE_PAGE, OPEN_PAGE, "approvals.md", "audit.md")  # test_orders_page.py reads orders.md
CLOUD_PAGES = (AWS_PAGE, GOOGLE_PAGE)
READ = {"bash", "toml", "yaml", "json", "ini", "mime", "dockerfile"}


def every(*languages: str) -> list[Any]:
    """All blocks in a language, as parameters of a test."""
    return [pytest.param(block, id=block.where) for page in PAGES for block in pages.blocks(page, *languages)]


def configuration(page: str) -> Config:
    """The first configuration of a page."""
    return schema.check(tomllib.loads(pages.blocks(page, "toml")[0].text), page)


def example(page: str, what: str) -> str:
    """A value of the table at the top of a page."""
    (row,) = re.findall(rf"^\| {re.escape(what)} \| (.+) \|$", pages.text(page), re.MULTILINE)
    return str(re.findall(r"`([^`]+)`", row)[0])


def gcloud(name: str) -> list[tuple[list[str], dict[str, str]]]:
    """Operands and options of every such command on Google's page."""
    return [
        pages.options(words[1 + len(name.split()) :])
        for block in pages.blocks(GOOGLE_PAGE, "bash")
        for words in pages.commands(block.text)
        if words[: 1 + len(name.split())] == ["gcloud", *name.split()]
    ]


def mint(issuer: Issuer, namespace: str, account: str, audience: str) -> str:
    """A token of an issuer."""
    claims = pod_claims(
        issuer.url, namespace, account, audience=audience, issued_s=int(time.time()) - 5, lifetime_s=3600
    )
    return compact(issuer.key("ES256"), "ES256", {}, json.dumps(claims).encode())

"""What each flow costs: the calls that a launcher makes, counted by the cloud, while everything around it is hostile.

The variables and files of both SDKs are set against it at once (`integration.hostile`), in the environment that the
launcher inherits from its kubelet.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from integration import hostile
from integration.flows import FLOWS, GRANTS, Flow, let_node_hop
from integration.launchers import ask, install, write_config

if TYPE_CHECKING:
    from pathlib import Path

    from cloud import Cloud
    from integration.traps import Trap


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])
def test_calls(cloud: Cloud, trap: Trap, tmp_path: Path, flow: Flow) -> None:
    """The calls of the flow in their order, once each, and no other to anybody; the pod's token goes into one of them.

    STS's own look for the issuer's keys is not the launcher's.
    """
    let_node_hop(cloud)
    node, home = tmp_path / "node", tmp_path / "home"
    node.mkdir()
    home.mkdir()
    launcher = install(node, write_config(node, cloud, tls=True, ecr=flow.ecr, gcr="", grants=GRANTS))
    environment = hostile.everything(home, trap, node=flow.as_node)
    before = contents(home)
    token = flow.token(cloud)
    done = ask(launcher.with_name(flow.launcher), flow.request(token), environment)
    assert (done.returncode, done.stderr) == (0, b"")
    auth = json.loads(done.stdout)["auth"]
    assert [bool(entry["password"]) for entry in auth.values()] == ([True] if flow.calls else [])
    sent = [request for request in cloud.requests() if request.service != "issuer"]
    assert tuple(request.where for request in sent) == flow.calls
    if token is not None:
        shown = [request.where for request in sent if token.encode() in request.body]
        assert shown == ([] if flow.as_node else list(flow.calls[:1]))
        assert not [request for request in sent if token in f"{request.headers}{request.target}"]
    assert not [request for request in sent if "hostile" in f"{request.headers}{request.body!r}".lower()]
    assert trap.caught == []
    assert contents(home) == before


def test_every_flow_differs() -> None:
    """No two flows are one under two names."""
    assert len({flow[1:] for flow in FLOWS}) == len(FLOWS)

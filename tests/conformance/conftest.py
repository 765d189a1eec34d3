"""Fixtures of the conformance suites. Without Go they fail, they do not skip: an agreement not tested is none."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from cloud import Cloud
from conformance.build import build
from conformance.installed import Installed
from conformance.kubelet import Kubelet
from conformance.rig import Rig
from conformance.scripted import provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def kubelet_program() -> str:
    """The built Go program."""
    return build("kubelet-plugins")


@pytest.fixture
def new_kubelet(kubelet_program: str) -> Iterator[Callable[..., Kubelet]]:
    """Starts kubelets, with the arguments of `Kubelet` after the program, and ends them after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(Kubelet(kubelet_program, *args, **kwargs))


@pytest.fixture
def rig(tmp_path: Path, new_kubelet: Callable[..., Kubelet]) -> Callable[..., Rig]:
    """Makes a `Rig` from provider entries; without any, one for `r.io` without token attributes."""
    return lambda *providers, **more: Rig(tmp_path, new_kubelet, providers or [provider()], **more)


@pytest.fixture(scope="session")
def running_cloud() -> Iterator[Cloud]:
    """One local cloud for all tests."""
    with Cloud() as running:
        yield running


@pytest.fixture
def cloud(running_cloud: Cloud) -> Cloud:
    """The local cloud with its default world: no faults, no records."""
    running_cloud.reset()
    return running_cloud


@pytest.fixture
def node(tmp_path: Path, cloud: Cloud, new_kubelet: Callable[..., Kubelet]) -> Installed:
    """A node without configuration yet."""
    return Installed(tmp_path, cloud, new_kubelet)


@pytest.fixture
def ready(node: Installed) -> Installed:
    """The usual node: installed, its kubelet started with the entry for ECR, team-a's account there."""
    node.install()
    node.start()
    node.account()
    return node

"""What the tests over real sockets share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloud import Cloud, sigv4
from integration.raw import RawServer
from integration.traps import Trap
from integration.verifying import Place, TravellingClock

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def set_trap() -> Trap:
    """One trap, which lives as long as the process."""
    return Trap()


@pytest.fixture
def trap(set_trap: Trap) -> Iterator[Trap]:
    """The trap, with nothing in it."""
    set_trap.caught.clear()
    yield set_trap
    set_trap.caught.clear()


@pytest.fixture
def raw_server() -> Iterator[Callable[[Callable[[socket.socket], None]], RawServer]]:
    """Makes raw servers and closes them."""
    servers: list[RawServer] = []

    def make(talk: Callable[[socket.socket], None]) -> RawServer:
        servers.append(RawServer(talk))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def travelling() -> Iterator[tuple[TravellingClock, Cloud]]:
    """A clock for which waits are over at once, and a cloud that goes by it."""
    clock = TravellingClock()
    with Cloud(now=clock.now_s) as running:
        yield clock, running


@pytest.fixture
def clock(travelling: tuple[TravellingClock, Cloud]) -> TravellingClock:
    """The clock of `place`."""
    return travelling[0]


@pytest.fixture
def place(travelling: tuple[TravellingClock, Cloud], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A cloud with its default world, reached by a proxy: AWS's and Google's names lead to it."""
    clock, running = travelling
    clock.start()
    running.reset()
    # The SDK signs by the machine's clock, which does not travel.
    monkeypatch.setattr(sigv4, "SKEW_S", 86400)
    for name in ("https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", running.endpoints.proxy)
    return Place(running, clock, tmp_path)

"""Whether a host name exists: name resolution, and an answer over TLS with a certificate for that name.

No credential is sent. The connection is the one that an exchange would make: the same certificates and proxy.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from pullpass.clock import Deadline
from pullpass.errors import PullpassError
from pullpass.exchange.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from pullpass.clock import Clock

    class Probe(Protocol):
        """Asks whether a host of this name answers."""

        def __call__(self, host: str) -> Presence:
            """Look for `host`."""


PATIENCE_S = 20.0
# The host has answered, whatever it said: over TLS, with a certificate that is its own.
ANSWERS = ("cloud-redirect", "cloud-failing", "cloud-throttled", "cloud-answer")


class Presence(NamedTuple):
    """Whether there is such a host.

    Attributes:
        answers: it answered over TLS with a certificate for its name.
        absent: it certainly does not exist under this name.
        detail: what was seen.
    """

    answers: bool
    absent: bool
    detail: str


class NetworkProbe:
    """Looks in the real world."""

    def __init__(self, clock: Clock, ca_bundle: str, resolve: Callable[[str], object] | None = None) -> None:
        """Ask with these certificates.

        Args:
            clock: the run's clock.
            ca_bundle: path of a PEM file, or "" for the system's store.
            resolve: looks a name up and raises `socket.gaierror` when that failed; the system's resolver if not given.
        """
        self._clock = clock
        self._ca_bundle = ca_bundle
        self._resolve = resolve or (lambda host: socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM))

    def __call__(self, host: str) -> Presence:
        """See `Probe`."""
        # Behind a proxy it is the proxy that looks names up, and this machine may not be able to.
        unknown = None if _is_proxied(host) else self._unknown(host)
        if unknown is not None:
            return unknown
        deadline = Deadline(self._clock, PATIENCE_S)
        transport = Transport(deadline, self._clock, self._ca_bundle)
        try:
            deadline.run(lambda: transport.send("GET", f"https://{host}/", {}, None), f"https://{host}/")
        except PullpassError as error:
            if error.code in ANSWERS:
                return Presence(answers=True, absent=False, detail="answers over TLS")
            if error.code == "cloud-tls":
                return Presence(answers=False, absent=False, detail=f"its certificate is not good: {error.what}")
            return Presence(answers=False, absent=False, detail=f"no answer: {error.what}")
        return Presence(answers=True, absent=False, detail="answers over TLS")

    def _unknown(self, host: str) -> Presence | None:
        try:
            Deadline(self._clock, PATIENCE_S).run(lambda: self._resolve(host), f"looking up {host}")
        except socket.gaierror as error:
            # "Try again" and the like say nothing about the name.
            absent = error.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
            return Presence(answers=False, absent=absent, detail=f"name resolution: {error.strerror}")
        except PullpassError as error:
            return Presence(answers=False, absent=False, detail=error.what)
        return None


def _is_proxied(host: str) -> bool:
    proxies = getproxies_environment()
    return "https" in proxies and not proxy_bypass_environment(host, proxies)

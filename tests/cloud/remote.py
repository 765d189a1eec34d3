"""The local cloud in a process of its own, with the methods of `Cloud` to call.

Example::

    with Remote.start("/tmp/state") as cloud:
        token = cloud.call("mint_token", namespace="team-a")
        cloud.call("fault", where="sts", kind="Throttling")
        cloud.endpoints["sts"]
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

STOP_S = 10


class RemoteError(Exception):
    """The cloud refused a call, or did not start."""


class Remote:
    """A running process and its control door."""

    def __init__(self, process: subprocess.Popen[str], endpoints: dict[str, str]) -> None:
        """Take over a process that is ready."""
        self.process = process
        self.endpoints = endpoints

    @classmethod
    def start(cls, state_dir: str | Path, python: str = sys.executable) -> Self:
        """Start a cloud and wait until it is ready.

        Raises:
            RemoteError: it ended instead.
        """
        command = [python, str(Path(__file__).parent), "--state-dir", str(state_dir)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.communicate()
            raise RemoteError(f"the local cloud did not start (exit status {process.returncode})")
        return cls(process, json.loads(line))

    def call(self, method: str, **arguments: Any) -> Any:
        """Call a method of `Cloud`.

        Raises:
            RemoteError: with the method's complaint.
        """
        connection = http.client.HTTPConnection(urlsplit(self.endpoints["control"]).netloc)
        try:
            connection.request("POST", f"/{method}", json.dumps(arguments))
            response = connection.getresponse()
            document = json.loads(response.read())
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise RemoteError(f"{method}: {document['error']}")
        return document

    def stop(self) -> None:
        """End the process by closing its standard input.

        Raises:
            RemoteError: it had a defect.
        """
        self.process.communicate(timeout=STOP_S)
        if self.process.returncode:
            raise RemoteError(f"the local cloud ended with {self.process.returncode}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

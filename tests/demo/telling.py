"""What a person reads of the demo: the story, scene by scene, and the table at its end."""

from __future__ import annotations

import os
import textwrap
from io import TextIOWrapper
from typing import TYPE_CHECKING, TextIO

from demo.stage import GOOGLE_HOST, GRANTS, HOST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloud import Cloud
    from demo.clients import Client
    from demo.scenes import Outcome, Scene

WIDTH = 100
EXPLAIN_WIDTH = 112
BOLD, DIM, RED, GREEN = "1", "2", "31", "32"
ABOUT = """\
pullpass is a kubelet image credential provider. When a pod needs a private image, the kubelet hands pullpass the pod's
service-account token; pullpass checks it against the operator's grants and exchanges it for a short-lived registry
credential of that workload: at Amazon ECR it opens this one repository, at Google what IAM lets the workload read.
Everything else is refused, with one line that says why and what to do."""


class Teller:
    """Writes the story to a stream."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        """Write to `stream`; in colours if that is a terminal and NO_COLOR is not set."""
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the locale can't write
        self._stream = stream
        terminal = stream.isatty() and environment.get("TERM", "") != "dumb"
        self._coloured = terminal and not environment.get("NO_COLOR")

    def open(self, cloud: Cloud, client: Client, directory: str) -> None:
        """Say what pullpass is, what is real here and what the policy is."""
        self._line(self._in(BOLD, "pullpass, played on this machine"))
        self._paragraph(ABOUT)
        proxy = cloud.endpoints.proxy.removeprefix("http://")
        self._paragraph(
            "The other side is a local cloud on loopback. It issues the pods' tokens, verifies them like the STS of AWS"
            " and of Google, applies trust, role and session policies, attribute mappings and IAM, and serves the"
            f" images. It is neither AWS nor Google: its proxy at {proxy} stands in for {HOST},"
            f" {GOOGLE_HOST} and gcr.io, and nothing leaves this machine. Images are pulled with {client.name}."
        )
        self._line("The operator's grants; the first that matches decides, and without one there is no credential:")
        self._block(GRANTS)
        self._line(f"$ pullpass install --bin-dir {directory}/bin --config {directory}/config.toml")
        self._line()

    def scene(self, number: int, scene: Scene, outcome: Outcome) -> None:
        """Tell one scene: what happens, what came back, and whether that was expected."""
        self._line(self._in(BOLD, f"{number}. {scene.title}"))
        self._paragraph(scene.story, after=False)
        explained = [text for label, text in outcome.facts if label == "explain"]
        if explained:
            self._line(f"   {self._in(DIM, '`pullpass explain` on the same request, without asking the cloud:')}")
            # What the steps found stands below them once more, on lines of its own: left out here.
            for text in (line for line in explained if not line.startswith("  ") or "would send" in line):
                self._line(f"     {_cut(text, EXPLAIN_WIDTH)}")
        for label, text in outcome.facts:
            if label != "explain":
                self._line(f"   {self._in(DIM, f'{label:<13}')} {text}")
        self._line(f"   {self._verdict(outcome)}")
        self._line()

    def table(self, played: list[tuple[Scene, Outcome]]) -> None:
        """Put the outcome of every scene into one table."""
        rows = [("scene", "expected", "outcome", "code", "as expected")]
        for number, (scene, outcome) in enumerate(played, 1):
            verdict = "no" if outcome.surprise else "yes"
            rows.append((f"{number} {scene.title}", scene.expected, outcome.summary, outcome.code or "-", verdict))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            if number:
                cells[-1] = self._in(RED if row[-1] == "no" else GREEN, cells[-1].rstrip())
            else:
                cells = [self._in(BOLD, cell) for cell in cells]
            self._line("  ".join(cells).rstrip())
        wrong = sum(1 for _, outcome in played if outcome.surprise)
        self._line()
        all_of = len(played)
        self._line(f"{wrong} of {all_of} scenes not as expected" if wrong else f"all {all_of} scenes as expected")

    def kept(self, directory: str) -> None:
        """Say where the files are."""
        self._line(f"kept in {directory}; the request of scene 1 is request.json, its token lives an hour:")
        self._line(f"$ pullpass explain --config {directory}/config.toml < {directory}/request.json")

    def _verdict(self, outcome: Outcome) -> str:
        if outcome.surprise:
            return self._in(RED, f"not as expected: {outcome.surprise}")
        return self._in(GREEN, "as expected")

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured and text else text

    def _paragraph(self, text: str, *, after: bool = True) -> None:
        indent = "" if after else "   "
        wrapped = textwrap.wrap(
            text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        for line in wrapped:
            self._line(line)
        if after:
            self._line()

    def _block(self, text: str) -> None:
        self._line()
        for line in text.splitlines():
            self._line(f"    {line}".rstrip())
        self._line()

    def _line(self, text: str = "") -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."

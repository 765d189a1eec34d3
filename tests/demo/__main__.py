"""`python -m demo`, with `tests` on the path: play the demo. `scripts/demo` makes the environment and starts this."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from cloud import Cloud
from demo import clients, scenes
from demo.stage import DemoError, Stage, configuration
from demo.story import SCENES
from demo.telling import Teller

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ENDED_BY_SIGNAL = 130


def play(
    stage: Stage, client: clients.Client, teller: Teller | None, story: tuple[scenes.Scene, ...]
) -> list[tuple[scenes.Scene, scenes.Outcome]]:
    """Play every scene on a stage, and tell each when it is over."""
    shared = scenes.Shared(client)
    played: list[tuple[scenes.Scene, scenes.Outcome]] = []
    for number, scene in enumerate(story, 1):
        outcome = scenes.Outcome()
        try:
            scene.play(stage, shared, outcome)
        except scenes.UnexpectedError as unexpected:
            outcome.surprise = str(unexpected)
        played.append((scene, outcome))
        if teller:
            teller.scene(number, scene, outcome)
    return played


def perform(
    cloud: Cloud,
    directory: str,
    config: str,
    teller: Teller | None,
    story: tuple[scenes.Scene, ...] = SCENES,
) -> dict[str, Any]:
    """The whole demo before a cloud that is serving.

    Args:
        cloud: the other side.
        directory: an empty one of our own, absolute.
        config: the operator's configuration.
        teller: who tells the story; None for nobody.
        story: the scenes.

    Returns:
        The document of `--json`; `asExpected` says whether every scene was.

    Raises:
        DemoError: it can't be played.
    """
    client = clients.choose(cloud, directory)
    stage = Stage(cloud, directory, config)
    if teller:
        teller.open(cloud, client, directory)
    stage.install()
    played = play(stage, client, teller, story)
    if teller:
        teller.table(played)
    rows = [
        {
            "scene": number, "title": scene.title, "expected": scene.expected, "outcome": outcome.summary,
            "code": outcome.code or None, "asExpected": not outcome.surprise, "surprise": outcome.surprise or None,
            "facts": [{"what": label, "text": text} for label, text in outcome.facts],
        }
        for number, (scene, outcome) in enumerate(played, 1)
    ]  # fmt: skip
    return {"asExpected": all(row["asExpected"] for row in rows), "client": client.name, "scenes": rows}


def run(
    *,
    keep: bool,
    as_json: bool,
    prepare: Callable[[Cloud, str], str] = configuration,
    story: tuple[scenes.Scene, ...] = SCENES,
) -> int:
    """Play with a fresh cloud in a fresh directory, and leave nothing behind unless asked to.

    Args:
        keep: leave the directory, and say where it is; when the demo could not be played to its end, nothing is left.
        as_json: print the result as a document, and no story.
        prepare: makes the operator's configuration, for a cloud and the node's directory.
        story: the scenes.

    Returns:
        The exit status: 0 only when every scene was as expected.
    """
    directory = tempfile.mkdtemp(prefix="pullpass-demo-")
    teller = None if as_json else Teller(sys.stdout)
    told = False
    try:
        with Cloud(os.path.join(directory, "cloud")) as cloud:
            document = perform(cloud, directory, prepare(cloud, directory), teller, story)
        if as_json:
            json.dump(document | {"kept": directory if keep else None}, sys.stdout, indent=2)
            sys.stdout.write("\n")
            sys.stdout.flush()
        elif teller and keep:
            teller.kept(directory)
        told = True
    finally:
        if not (keep and told):
            shutil.rmtree(directory, ignore_errors=True)
    return 0 if document["asExpected"] else 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # Once is enough: a second signal must not end the clean-up that the first one started.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Read the command line, play, and return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Play the demo; see `scripts/demo --help`.")
    parser.add_argument("--keep", action="store_true", help="leave the files, and say where")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the story")
    arguments = parser.parse_args()
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
            signal.signal(number, _interrupt)
    try:
        return run(keep=arguments.keep, as_json=arguments.json)
    except DemoError as error:
        sys.stderr.write(f"scripts/demo: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("scripts/demo: interrupted; nothing is left running\n")
        return ENDED_BY_SIGNAL
    except OSError as error:
        # Who reads may have gone (`scripts/demo | head`), and knows it. Python would complain once more when it exits.
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"scripts/demo: {error}; TMPDIR and what the output goes to must have space\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""Builds the Go programs of the suites into `.build/`, outside version control.

Module and build caches are Go's own. Settings of the caller that would change what is built (`GOFLAGS`, `go.work`, cgo)
have no influence.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, ".build")
GO_MISSING = (
    "Go is needed to build the kubelet's own code: install Go 1.26 or newer from https://go.dev/dl/ "
    "(unpacked into /usr/local/go it is found without further ado)"
)


class BuildError(Exception):
    """A program could not be built; the text says what to do."""


class Program(NamedTuple):
    """A Go program: the module it is built in, the package, and what it is, for people."""

    module: str
    package: str
    what: str


PROGRAMS = {
    "kubelet-plugins": Program("kubelet", "./plugins", "the kubelet's exec-plugin code and keyring"),
    "ecr-credential-provider": Program(
        "ecr", "k8s.io/cloud-provider-aws/cmd/ecr-credential-provider", "AWS's own plugin, for comparison"
    ),
}


def go_command() -> str:
    """The path of `go`: what `GO` names and nothing else, where that is set.

    Raises:
        BuildError: there is none.
    """
    if named := os.environ.get("GO"):
        found = shutil.which(named)
    else:
        found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin:/usr/lib/go/bin")
    if found is None:
        raise BuildError(GO_MISSING)
    return found


def go_environment() -> dict[str, str]:
    """The environment to run `go` in: the caller's, without what would change the result."""
    settings = {"GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off", "CGO_ENABLED": "0"}
    return {**os.environ, **settings}


def module_directory(program: str) -> str:
    """The directory of the Go module that `program` is built in."""
    return os.path.join(HERE, "go", PROGRAMS[program].module)


def is_built(name: str) -> bool:
    """Whether a program was built before; it may have to be built anew all the same."""
    return os.path.exists(os.path.join(BUILD, name))


def build(name: str) -> str:
    """Build one of `PROGRAMS`; quick when nothing has changed.

    Returns:
        The path of the executable.

    Raises:
        BuildError: Go is missing, too old, or the build failed.
    """
    os.makedirs(BUILD, exist_ok=True)
    path = os.path.join(BUILD, name)
    # Two packages at a time: the kubelet's code needs memory to compile, and nodes to test on are small.
    command = [go_command(), "build", "-p", "2", "-ldflags=-s -w", "-o", path, PROGRAMS[name].package]
    done = subprocess.run(
        command,
        cwd=module_directory(name),
        env=go_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        text = done.stdout.strip()
        if "go.mod requires go >=" in text or "invalid go version" in text:
            raise BuildError(f"this Go is too old: {GO_MISSING}; it says: {text}")
        raise BuildError(f"building {name} failed ({' '.join(command)}):\n{text}")
    return path


def vet() -> None:
    """Hold our own Go code to `gofmt` and `go vet`.

    Raises:
        BuildError: one of them complains.
    """
    go, directory = go_command(), module_directory("kubelet-plugins")
    # gofmt stands beside go in every distribution of it.
    gofmt = os.path.join(os.path.dirname(os.path.realpath(go)), "gofmt")
    for command in ([gofmt, "-l", "."], [go, "vet", "-p", "2", "./..."]):
        done = subprocess.run(
            command,
            cwd=directory,
            env=go_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0 or done.stdout.strip():
            raise BuildError(f"{' '.join(command)} complains:\n{done.stdout.strip()}")


def kubernetes_version() -> str:
    """The release that the kubelet's code is taken from, such as `v1.36.3`."""
    with open(os.path.join(module_directory("kubelet-plugins"), "go.mod"), encoding="utf-8") as stream:
        for line in stream:
            words = line.split()
            if "k8s.io/kubernetes" in words:
                return words[words.index("k8s.io/kubernetes") + 1]
    raise BuildError("go.mod does not require k8s.io/kubernetes")

"""The operator's configuration: the values, and how a run gets at them.

Rules:

* The TOML file is the only source of truth. It is checked strictly (`schema`), and its checked form is kept in the
  runtime directory (`compiled`), stamped with what tells one state of the file from another; so a run that finds
  nothing changed parses no TOML.
* A configuration that fails its check is never replaced by an older compiled one.
* That the compiled form can't be kept (read-only file system, foreign directory) is no error: the run is slower.
* Only `PullpassError` comes out of here, with a code of the section "configuration" and exit status 2.

Example:
    config = load("/etc/pullpass/config.toml", runtime="/run/pullpass")
"""

from __future__ import annotations

from pullpass.config import compiled
from pullpass.config.values import Alias, ApprovalTimes, Audit, Config, Ecr, Gcr, Grant, Node, Paths
from pullpass.errors import PullpassError, outside

__all__ = ["Alias", "ApprovalTimes", "Audit", "Config", "Ecr", "Gcr", "Grant", "Node", "Paths", "load"]


def load(path: str, *, runtime: str | None = None) -> Config:
    """The validated configuration at `path`.

    Args:
        path: the TOML file.
        runtime: the runtime directory that a launcher was installed for, where the compiled form is kept; None for
            people's commands, which read the TOML.

    Raises:
        PullpassError: `config-missing`, `config-unreadable`, `config-permissions`, `config-invalid`, or
            `config-runtime-moved` when `runtime` is not the one in the file.
    """
    config = None if runtime is None else compiled.read(path, runtime)
    if config is None:
        from pullpass.config import schema, source  # noqa: PLC0415 - tomllib and re, only when the file has changed

        document, status = source.read(path)
        config = schema.check(document, path)
        if runtime is not None and runtime == config.paths.runtime:
            compiled.write(path, runtime, status, config)
    if runtime is not None and runtime != config.paths.runtime:
        raise PullpassError(
            "config-runtime-moved",
            f"{outside(path)}: paths.runtime is {outside(config.paths.runtime)}, "
            f"and this launcher was installed for {outside(runtime)}",
        )
    return config

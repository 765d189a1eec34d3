"""A kubelet with scripted plugins, ready to be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.scripted import Plugin, write_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from conformance.kubelet import Kubelet


class Rig:
    """A kubelet with scripted plugins registered; `plugin` is the first."""

    def __init__(
        self,
        directory: Path,
        new_kubelet: Callable[..., Kubelet],
        providers: Sequence[Mapping[str, Any]],
        gates: Mapping[str, bool] | None = None,
        **kubelet_arguments: Any,
    ) -> None:
        """Make it.

        Raises:
            AssertionError: the kubelet did not take the configuration.
        """
        bin_dir = str(directory / "bin")
        self.plugins = [Plugin(bin_dir, str(entry["name"])) for entry in providers]
        self.plugin = self.plugins[0]
        self.config = write_config(str(directory / "providers.json"), providers)
        self.kubelet = new_kubelet(**kubelet_arguments)
        self.registered = self.kubelet.register(self.config, bin_dir, gates)
        assert self.registered.error == ""

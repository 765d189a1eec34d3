"""Examines any credential provider plugin by the kubelet's own code: what is behind `scripts/conformance plugin`.

A whole configuration is registered here, as a kubelet does it; each provider is then asked by itself, see
`conformance.interview`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from conformance.checks import FINDING, OK, Report, quoted
from conformance.interview import Interview, Options, matches
from conformance.kubelet import Kubelet

if TYPE_CHECKING:
    from conformance.kubelet import Provider


def examine(program: str, options: Options) -> Report:
    """Examine every provider of a configuration.

    Args:
        program: the built `kubelet-plugins`.
        options: what to ask.

    Raises:
        RunnerError: the Go program itself failed.
    """
    report = Report()
    if options.token is not None:
        report.secret(options.token)
    with Kubelet(program, options.environment) as kubelet:
        registered = kubelet.register(os.path.abspath(options.config), os.path.abspath(options.bin_dir))
        if registered.error:
            report.add("registers", FINDING, registered.error)
            return report
        for provider in registered.providers:
            report.add("registers", OK, f"{provider.api_version}, {_mode(provider)}", provider.name)
            _patterns(kubelet, provider, report)
        images = [_repository(kubelet, image, report) for image in options.images]
        refuse = [_repository(kubelet, image, report) for image in options.refuse]
        asked = {p.name: [i for i in images if i and matches(kubelet, p, i)] for p in registered.providers}
        refused = {p.name: [i for i in refuse if i and matches(kubelet, p, i)] for p in registered.providers}
    for image in images:
        if image and not any(image in matching for matching in asked.values()):
            report.add("asked", FINDING, "no provider's matchImages covers it", image=image)
    for image in refuse:
        if image and not any(image in matching for matching in refused.values()):
            report.add("refuses", OK, "no provider's matchImages covers it", image=image)
    for provider in registered.providers:
        Interview(program, options, provider, report).run(asked[provider.name], refused[provider.name])
    return report


def _mode(provider: Provider) -> str:
    attributes = provider.token_attributes
    if attributes is None:
        return "without tokens: every credential belongs to the node"
    return f"with tokens for {attributes.audience!r}, cached by {attributes.cache_type}"


def _repository(kubelet: Kubelet, image: str, report: Report) -> str:
    """The repository a plugin would be asked for; empty, and a finding, where the kubelet can't parse the image."""
    parsed = kubelet.parse(image)
    if parsed.error:
        report.add("asked", FINDING, parsed.error, image=image)
    return parsed.repository


def _patterns(kubelet: Kubelet, provider: Provider, report: Report) -> None:
    """A pattern is alive when it matches an image made from it that the kubelet's parser takes."""
    dead = []
    for pattern in provider.match_images:
        host, slash, path = pattern.partition("/")
        example = f"{host.replace('*', 'x')}{slash}{path.rstrip('/') + '/' if path.rstrip('/') else ''}"
        parsed = kubelet.parse(f"{example.rstrip('/')}/x")
        if parsed.error or not kubelet.match(pattern, parsed.repository):
            dead.append(pattern)
    if dead:
        report.add("match-images", FINDING, f"no image can match {quoted(dead)}", provider.name)
    else:
        report.add("match-images", OK, f"{len(provider.match_images)} patterns", provider.name)

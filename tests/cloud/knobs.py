"""The knobs of `Cloud.configure`.

The clusters and AWS:

* `skew_s`: how far the clouds' clock is ahead of the cluster's.
* `leeway_s`: how long after `exp` (and before `iat`) STS still takes a token.
* `packed_limit_bytes`: what a session policy may take when packed.
* `password_life_s`, `public_password_life_s`: the life of a password of ECR and of ECR Public.
* `passwords_outlive_sessions`: whether ECR's outlives the session that asked for it.
* `password_limit`: whether ECR's opens what its session's policy says: `always`, `never`, `with-session` (as long as
  that lives).
* `default_registry`: [account, region] of the registry on the bare port.
* `disabled_regions`: where STS is not active.
* `aliases`: host -> [account, region] of names in front of a registry.

The node:

* `node_role` (ARN; None: no role), `node_region`.
* `task_roles`: credentials id -> ARN; `pod_roles`: NAMESPACE/NAME -> ARN.
* `imds_enabled`; `imds_v1`: answers without a session token too; `imds_hop_limit`; `imds_hops`: how far the caller is.
* `google_node_account` (e-mail; None: no account), `google_node_scopes`.
* `metadata_impostor`: Google's metadata server does not say that it is one.

Google:

* `google_leeway_s`: as `leeway_s`.
* `disabled_apis`: of `sts`, `iamcredentials`.
* `universes`: further universe domains; their `sts.` and `iamcredentials.` hosts are known then.
* `google_aliases`: host -> location of names in front of Artifact Registry; `default_location`: that of the bare port.
* `pull_scopes`: any of these OAuth scopes is enough for a pull.
* `registry_tokens_outlive`: whether a registry token outlives the access token it was given for.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloud.local import Cloud


def _pair(value: Any) -> tuple[str, str]:
    first, second = value
    return str(first), str(second)


def _aliases(value: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    return {host: _pair(at) for host, at in value.items()}


def _pod_roles(value: Mapping[str, str]) -> dict[tuple[str, str], str]:
    return {_pair(name.split("/")): arn for name, arn in value.items()}


def _limit(value: str) -> str:
    if value not in {"always", "never", "with-session"}:
        raise ValueError(f"{value!r} is no limit of a password")
    return value


def _name(value: str | None) -> str | None:
    return value


# name -> the attribute of the cloud, and what the value becomes
_KNOBS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "skew_s": ("skew_s", float),
    "leeway_s": ("sts.leeway_s", float),
    "packed_limit_bytes": ("sts.packed_limit_bytes", int),
    "password_life_s": ("ecr.password_life_s", float),
    "public_password_life_s": ("ecr_public.password_life_s", float),
    "password_limit": ("registry.password_limit", _limit),
    "passwords_outlive_sessions": ("registry.passwords_outlive_sessions", bool),
    "default_registry": ("default_registry", _pair),
    "disabled_regions": ("world.disabled_regions", set),
    "aliases": ("world.aliases", _aliases),
    "node_role": ("node.role", _name),
    "node_region": ("node.region", str),
    "task_roles": ("node.task_roles", dict),
    "pod_roles": ("node.pod_roles", _pod_roles),
    "imds_enabled": ("imds.enabled", bool),
    "imds_v1": ("imds.v1", bool),
    "imds_hop_limit": ("imds.hop_limit", int),
    "imds_hops": ("imds.hops", int),
    "google_node_account": ("gmetadata.account", _name),
    "google_node_scopes": ("gmetadata.scopes", tuple),
    "metadata_impostor": ("gmetadata.impostor", bool),
    "google_leeway_s": ("gsts.subjects.leeway_s", float),
    "disabled_apis": ("google.disabled_apis", set),
    "universes": ("google.universes", set),
    "google_aliases": ("google.aliases", dict),
    "default_location": ("google.location", str),
    "pull_scopes": ("artifact.pull_scopes", frozenset),
    "registry_tokens_outlive": ("artifact.registry_tokens_outlive", bool),
}


def turn(cloud: Cloud, name: str, value: Any) -> None:
    """Turn one knob.

    Raises:
        ValueError: there is no such knob.
    """
    if name not in _KNOBS:
        raise ValueError(f"{name!r} is no setting; there are {sorted(_KNOBS)}")
    path, become = _KNOBS[name]
    holder, _, attribute = path.rpartition(".")
    setattr(attrgetter(holder)(cloud) if holder else cloud, attribute, become(value))

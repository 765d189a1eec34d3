"""The whole configuration: which tables and keys there are, and what must hold between them.

`TABLES` below is the list of keys; what a value may be is in `forms` and `grants`, how checks are put together in
`checks`. Nothing but `PullpassError` comes out of `check`, whatever the document.
"""

from __future__ import annotations

from pullpass import patterns, registry
from pullpass.config import forms
from pullpass.config.checks import Check, Finding, Key, Wrong, duration, each, gathered, one_of, shown, table, wrong
from pullpass.config.grants import GRANT, identities
from pullpass.config.values import Alias, ApprovalTimes, Audit, Config, Ecr, Gcr, Grant, Node, Paths
from pullpass.errors import PullpassError, outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
LONGEST = "3650d"  # of what has no limit of its own: ten years, so that sums of times stay in range


def _shared_issuer(node: Node) -> None:
    shared = next((issuer for issuer in node.issuers if issuer in forms.SHARED_ISSUERS), None)
    if shared and not node.jwks:
        expected = f"{forms.PATH.expected} of this cluster's JWKS, because every cluster has the issuer {shared}"
        raise Wrong(Finding(".jwks", "is missing", expected))


def _margin(approval: ApprovalTimes) -> None:
    if approval.margin_s >= approval.max_age_s:
        expected = f"less than approval.max_age ({approval.max_age_s:g}s)"
        raise Wrong(Finding(".margin", f"is {approval.margin_s:g}s", expected))


NODE = table(
    "a table [node]",
    Node,
    {
        "cluster": Key("cluster", forms.CLUSTER),
        "issuers": Key("issuers", each(forms.ISSUER)),
        "jwks": Key("jwks", forms.PATH, ""),
        "deadline": Key("deadline_s", duration("1s", "55s"), 45.0),  # the kubelet kills a plugin at 60s
        "ca_bundle": Key("ca_bundle", forms.PATH, ""),
        "aws_metadata": Key("aws_metadata", forms.METADATA_URL, forms.METADATA),
        "google_metadata": Key("google_metadata", forms.METADATA_URL, forms.METADATA),
    },
    _shared_issuer,
)
PATHS = table(
    "a table [paths]",
    Paths,
    {
        "state": Key("state", forms.PATH, "/var/lib/pullpass"),
        "runtime": Key("runtime", forms.PATH, "/run/pullpass"),
        "kubelet": Key("kubelet", forms.PATH, "/var/lib/kubelet"),
    },
)
APPROVAL = table(
    "a table [approval]",
    ApprovalTimes,
    {
        "max_age": Key("max_age_s", duration("1s", LONGEST), 3600.0),
        "recheck": Key("recheck_s", duration("1s", LONGEST), 600.0),
        "margin": Key("margin_s", duration("0s", LONGEST), 120.0),
        "min_life": Key("min_life_s", duration("0s", LONGEST), 30.0),
        "outage": Key("outage_s", duration("0s", LONGEST), 4 * 3600.0),
        "denied_for": Key("denied_for_s", duration("0s", LONGEST), 30.0),
    },
    _margin,
)
POLICY = table(
    "a table [policy]",
    lambda unmatched: unmatched,
    {"unmatched": Key("unmatched", one_of(patterns.REFUSE, patterns.NODE), patterns.REFUSE)},
)
AUDIT = table(
    "a table [audit]",
    Audit,
    {
        "keep": Key("keep_s", duration("1d", LONGEST), 90 * 86400.0),
        "when_full": Key("when_full", one_of("refuse", "issue"), "refuse"),
    },
)
ALIAS = table(
    "a table [[ecr.alias]]",
    Alias,
    {
        "host": Key("host", forms.OWN_HOST),
        "account": Key("account", forms.ACCOUNT),
        "region": Key("region", forms.REGION),
    },
)
ECR = table(
    "a table [ecr]",
    Ecr,
    {
        "audience": Key("audience", forms.AUDIENCE),
        "scope": Key("scope", one_of("repository", "registry"), "repository"),
        # STS: 900 seconds up to the role's own maximum, which is at most 12 hours.
        "session_duration": Key("session_duration_s", duration("15m", "12h", whole=True), 3600),
        "sts_endpoint": Key("sts_endpoint", forms.BASE_URL, ""),
        "ecr_endpoint": Key("ecr_endpoint", forms.BASE_URL, ""),
        "ecr_public_endpoint": Key("ecr_public_endpoint", forms.BASE_URL, ""),
        "alias": Key("aliases", each(ALIAS, unique="host"), ()),
    },
)
GCR = table(
    "a table [gcr]",
    Gcr,
    {
        "audience": Key("audience", forms.AUDIENCE),
        "provider": Key("provider", forms.PROVIDER),
        "oauth_scope": Key("oauth_scope", forms.SCOPES, "https://www.googleapis.com/auth/cloud-platform"),
        "token_url": Key("token_url", forms.TOKEN_URL, ""),
        "iam_credentials_url": Key("iam_credentials_url", forms.BASE_URL, ""),
        "universe_domain": Key("universe_domain", forms.UNIVERSE, "googleapis.com"),
        # What gcloud accepts for a credential configuration; above 1h an organisation policy must allow it.
        "token_lifetime": Key("token_lifetime_s", duration("10m", "12h", whole=True), 3600),
        "hosts": Key("hosts", each(forms.OWN_HOST), ()),
    },
)


# --- what must hold between the tables


def _sections(config: Config) -> list[Finding]:
    """What the two clouds' sections must agree on."""
    ecr, gcr = config.ecr, config.gcr
    if ecr is None and gcr is None:
        return [Finding(".ecr", "is missing", "at least one of [ecr] and [gcr]")]
    lives = [("ecr.session_duration", ecr.session_duration_s)] if ecr else []
    lives += [("gcr.token_lifetime", gcr.token_lifetime_s)] if gcr else []
    findings = [
        Finding(".approval.min_life", f"is {config.approval.min_life_s:g}s", f"less than {key} ({life_s}s)")
        for key, life_s in lives
        if config.approval.min_life_s >= life_s
    ]
    if ecr and gcr:
        if ecr.audience == gcr.audience:
            # One audience for both would let whoever receives a token at one cloud present it at the other.
            findings.append(Finding(".gcr.audience", f"is {shown(gcr.audience)} like ecr.audience", "another audience"))
        for number, host in enumerate(gcr.hosts, 1):
            if any(alias.host == host for alias in ecr.aliases):
                findings.append(
                    Finding(f".gcr.hosts[{number}]", f"is {shown(host)}, an [[ecr.alias]] too", "one of the two")
                )
    return findings


def _grant(grant: Grant, config: Config) -> list[Finding]:
    """What a grant needs of the sections: positions are relative to it."""
    findings = []
    # What the node becomes by a hop decides like a role of one's own.
    templates = [(".via", grant.via)] if grant.via and grant.identity == patterns.NODE else identities(grant)
    for at, template in templates:
        section = "ecr" if patterns.is_role(template) else "gcr"
        if template not in patterns.CLOUDLESS and getattr(config, section) is None:
            findings.append(
                Finding(at, f"is {shown(template)} without [{section}]", f"the section [{section}] as well")
            )
    aliases = config.ecr.aliases if config.ecr else ()
    hosts = config.gcr.hosts if config.gcr else ()
    for number, image in enumerate(grant.images, 1):
        host = image.partition("/")[0]
        if "*" in host:
            continue  # which hosts it stands for is seen when one is asked for
        at = f".images[{number}]"
        try:
            target = registry.match(f"{host}/repository", aliases, hosts)
        except PullpassError:
            expected = "a host of ECR or Google's registries, or one that is an [[ecr.alias]] or in gcr.hosts"
            findings.append(Finding(at, f"is {shown(image)}, whose host is refused", expected))
            continue
        if not any(_fits(template, target) for _, template in templates):
            expected = f"an image of the cloud and partition of {shown(templates[0][1])}"
            findings.append(Finding(at, f"is {shown(image)}", expected))
    return findings


def _fits(template: str, target: registry.Target) -> bool:
    """Whether an identity can open a registry; the same as policy finds for a request."""
    if template in patterns.CLOUDLESS:
        return True
    if target.kind == registry.GCR:
        return not patterns.is_role(template)
    return patterns.is_role(template) and (target.kind != registry.ECR or target.partition == template.split(":")[1])


def _named(grants: tuple[Grant, ...]) -> tuple[Grant, ...]:
    """Every grant with a name: `grant N` where none was given.

    Raises:
        Wrong: two have one name, so that the trail could not tell them apart.
    """
    named: dict[str, Grant] = {}
    findings = []
    for number, grant in enumerate(grants, 1):
        name = grant.name or f"grant {number}"
        if name in named:
            findings.append(Finding(f".grant[{number}].name", f"is {shown(name)} again", "a name of its own"))
        named[name] = grant._replace(name=name)
    if findings:
        raise Wrong(*findings)
    return tuple(named.values())


def _make(*, grants: tuple[Grant, ...], **tables: Any) -> Config:
    del tables["version"]  # checked, and the same for every configuration
    config = Config(grants=_named(grants), **tables)
    findings = _sections(config)
    for number, grant in enumerate(config.grants, 1):
        findings += [f._replace(at=f".grant[{number}]{f.at}") for f in _grant(grant, config)]
    if findings:
        raise Wrong(*findings)
    return config


def _read_version(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value != VERSION:
        raise wrong(value, _VERSION.expected)
    return value


_VERSION = Check(f"{VERSION}, the version that this program reads", _read_version)
DOCUMENT = table(
    "a table",
    _make,
    {
        "version": Key("version", _VERSION),
        "node": Key("node", NODE),
        "paths": Key("paths", PATHS, PATHS.read({})),
        "approval": Key("approval", APPROVAL, APPROVAL.read({})),
        "policy": Key("unmatched", POLICY, POLICY.read({})),
        "audit": Key("audit", AUDIT, AUDIT.read({})),
        "ecr": Key("ecr", ECR, None),
        "gcr": Key("gcr", GCR, None),
        "grant": Key("grants", each(GRANT)),
    },
)


def check(document: dict[str, Any], path: str) -> Config:
    """The configuration in a TOML document.

    Args:
        document: as `tomllib` reads it.
        path: the file, for the error.

    Raises:
        PullpassError: `config-invalid`, with the first finding and the number of the others.
    """
    findings: list[Finding] = []
    config: Config
    # First, because another version may have other keys, and findings about those would only mislead.
    with gathered(findings, ".version"):
        _VERSION.read(document.get("version", VERSION))
    if not findings:
        with gathered(findings):
            config = DOCUMENT.read(document)
            return config
    first, *others = findings
    more = f" (and {len(others)} more)" if others else ""
    raise PullpassError("config-invalid", f"{outside(path)}: {first}{more}")

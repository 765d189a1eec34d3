"""The local cloud: AWS, Google, and a cluster's token issuer, on loopback, for tests and the demo.

It behaves like the other side and says no like it: tokens, signatures, trust policies, permissions and passwords are
really verified. It needs `cryptography`, `pyjwt` and `botocore` (to verify signatures) and listens on 127.0.0.1 only.

In the process of a test (`tests/` is on `sys.path`)::

    from cloud import Cloud, role_arn                   # clients, also for Google: cloud.clients, cloud.gcp.clients

    with Cloud() as cloud:                              # or Cloud().start() ... .stop(); now= takes a clock
        cloud.endpoints.sts                             # http://127.0.0.1:PORT, https in sts_tls; likewise ecr,
                                                        # ecr_public, gsts (below it /v1/token), iamcredentials;
                                                        # HOST:PORT in registry (ECR), public (ECR Public), artifact
                                                        # (Google) and their _tls; imds, container, gmetadata: plain;
                                                        # issuer, proxy, elsewhere, elsewhere_tls, control, ca_file
        token = cloud.mint_token("team-a", "web")       # wrong ones: audience=, lifetime_s=, issued_s=, alg=, key=,
                                                        # claims=, remove=, header=, payload=, cluster=
        cloud.fault("sts.AssumeRoleWithWebIdentity", "Throttling", times=2)     # times=None: until cleared
        cloud.fault("ecr", "expires-null")              # every kind stands in `cloud.faults`
        cloud.fault("*", "latency", None, seconds=0.05)
        cloud.clear("ecr"); cloud.clear()
        cloud.wait_for("sts", 1)                        # also a request that hangs counts
        cloud.last("sts").parameters["Policy"]          # requests(where), count(where), counts()
        cloud.configure(skew_s=600)                     # the cloud's clock is ahead of the cluster's; see cloud.knobs
        cloud.set_role("pull-team-a", policy={...})     # trust=, max_session_s=; remove_role(name)
        cloud.world                                     # providers, roles, repositories, sessions, passwords
        cloud.push("team-a/new", "v1")                  # another image; push_public(name)
        cloud.rotate_keys(keep_old=False); cloud.certificates("expired"); cloud.reset()

Google's side (`from cloud.gcp.world import ...`: GOOGLE_AUDIENCE, PULL_ACCOUNT, provider_name, principal, ...)::

        cloud.mint_token("team-b", "web", audience=GOOGLE_AUDIENCE)
        cloud.set_pool(disabled=True)                   # pool=, number=; deleted=
        cloud.set_workload_provider(audiences=[...])    # issuer=, mapping={}, condition=, jwks=, disabled=
        cloud.set_service_account(PULL_ACCOUNT, impersonators=[principal("team-b", "web")])   # longest_token_s=, ...
        cloud.set_artifacts("team-c", readers=[principal_set("ns", "team-c")])      # project=, location=, bindings=
        cloud.push_artifact("app", "team-c", "v1")
        cloud.google                                    # pools, accounts, repositories, tokens, disabled_apis

`where` is `*`, a service or an operation:

* `sts.AssumeRoleWithWebIdentity|AssumeRole|GetCallerIdentity`, `ecr.GetAuthorizationToken`,
  `ecr-public.GetAuthorizationToken`, `registry.ping|manifest|blob|tags` (ECR),
  `public.ping|token|manifest|blob|tags` (ECR Public)
* `gsts.token`, `iamcredentials.generateAccessToken`, `artifact.ping|token|manifest|blob|tags`
* the node's: `imds.token|role|credentials|data` (EC2), `container.credentials` (ECS by `/v2/credentials/ID`, EKS Pod
  Identity by `/v1/credentials`), `gmetadata.ping|token|email|account|data` (Google)
* `issuer.discovery|jwks`

Requests to a host that is none of ours are recorded as `elsewhere`, failed handshakes as `tls.handshake`, CONNECT as
`proxy.CONNECT`. The codes that a fault may name are the keys of the service's `errors`; those of Google's STS say after
a slash which meaning of OAuth's code it is (`invalid_grant/connect`), upper-case ones come in the form of Google's
front end (`RESOURCE_EXHAUSTED`).

As a process: `python tests/cloud --state-dir D` prints one line of JSON with the endpoints and serves until its
standard input ends or SIGTERM comes. All of the above works over HTTP as well: `POST {control}/METHOD` with the
arguments as a JSON object (see `cloud.control`); `cloud.remote.Remote` starts such a process and makes such calls.

The doors: services share a plain and a TLS port and are told apart by what is asked; the three registries have ports of
their own. Under a real host's name only that host's service answers. Certificates are made for whatever name the
client wants. The `proxy` door is an HTTP proxy whose every tunnel ends in this cloud, so that a
client can use AWS's real host names (`HTTPS_PROXY`), FIPS and other regions included; the host is in `Request.host`.
`cloud.dead_end(kind)` is a port that refuses, never says a byte, or does not even answer a SYN.

The default world: cluster `prod-1`; account 111122223333 in us-west-2, whose OIDC provider knows the audience
`pull.ecr.prod-1`; roles `pull-team-a` and `pull-team-b`, trusted by the service accounts of the namespace in their
name, allowed to pull from `team-a/*` or `team-b/*` and `shared/*`; repositories `team-a/app`, `team-a/other`,
`team-b/app`, `shared/base`, `system/pause` with the tags `v1`, `latest` and `multi` (an index over two platforms). Role
`node-prod-1` is the node's, its tasks' and that of the pods of `kube-system/pullpass`; it may pull `system/*` and log
in to ECR Public. So may `pull-public`, trusted by every service account. ECR Public has `docker/library/busybox`.
Second hop: account 999988887777 has `shared/base` and the role `pull-shared`, which trusts `pull-team-a` and
`pull-team-b`. China: account 222233334444 has the role `pull-team-a` and, in cn-north-1, the repository `team-a/app`.

Google: project `proj`, number 123, pool `nodes` with the provider `prod-1` for tokens for `pull.gcr.prod-1` (subject as
it is, `attribute.ns`, `.ksa`, `.nsksa`), and the pool `proj.svc.id.goog` with the cluster's issuer as the provider's
URL. Service accounts `pull@proj.iam.gserviceaccount.com`, which `team-b/web` may impersonate, and
`node-prod-1@proj.iam.gserviceaccount.com`, the node's. Images, each with the tags `v1` and `latest`: `proj/team-a/app`
for the namespace `team-a`; `proj/team-b/web` for the namespace `team-b` and the account `pull@`; `proj/system/pause`
for the node's account; `proj/public/base` for everybody: all in `europe-docker.pkg.dev` and, on the bare port, in the
location `europe`; `gcr.io/proj/app` like `team-b/web`, and `gcr.io/distroless/static` for everybody.

A further cloud is a further module with a `Service` (see `cloud.answers`), added to `Cloud.services`.
"""

from __future__ import annotations

from cloud.local import Cloud, Endpoints
from cloud.records import Request
from cloud.world import ACCOUNT, AUDIENCE, CLUSTER, REGION, role_arn

__all__ = ["ACCOUNT", "AUDIENCE", "CLUSTER", "REGION", "Cloud", "Endpoints", "Request", "role_arn"]

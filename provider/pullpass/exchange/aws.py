"""A registry password of AWS: the plan's hops, one session after the other, and the password that the last may have.

Each module beside this one knows one thing: `aws_sdk` makes calls with boto3, `aws_node` gets the node's own keys,
`aws_answers` reads what comes back, `aws_errors` what is refused.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from pullpass import registry
from pullpass.exchange import Credential, aws_answers, aws_errors, aws_node, plan_aws
from pullpass.exchange.aws_sdk import Place, Sdk
from pullpass.exchange.redaction import Redactor, facts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pullpass.clock import Clock, Deadline
    from pullpass.exchange.plan_aws import AwsPlan, Hop
    from pullpass.secret import Secret


def exchange(
    plan: AwsPlan, token: Secret | None, deadline: Deadline, clock: Clock, jitter: Callable[[], float] = random.random
) -> Credential:
    """Exchange a pod's token, or the node's own keys, for a password; see `exchange.Exchanger`.

    Args:
        plan: what to send.
        token: the pod's service-account token; it is sent only where the plan has a hop by token.
        deadline: of the whole run.
        clock: the run's clock.
        jitter: a number from 0 up to 1, for the waits between attempts.

    Raises:
        PullpassError: a code of one of the sections "exchange" of `errors`, `ca-bundle`, `proxy` or
            `aws-container-credentials`.
    """
    session = None
    if plan.metadata_url:
        session = aws_node.session(plan.metadata_url, os.environ, deadline, clock, jitter)
    sdk = Sdk(plan.ca_bundle, _redactor(plan, token), deadline, clock, jitter)
    for hop in plan.hops:
        answer = sdk.call(hop.action, Place(plan.sts_url, plan.sts_region), _asked(plan, hop, token), session)
        session = aws_answers.session(answer, hop, plan.session_name, clock.now_s())
    assert session is not None  # noqa: S101 - a plan has a hop, or the node's keys
    action = f"{plan.kind}:GetAuthorizationToken"
    answer = sdk.call(action, Place(plan.password_url, plan.region), {}, session)
    password, expires_s = aws_answers.password(action, answer, clock.now_s())
    return Credential(
        username=aws_answers.USERNAME,
        secret=password,
        registry_expires_s=expires_s,
        session_expires_s=session.expires_s,
        principal=session.principal,
        access_key_id=session.access_key_id,
        request_ids=tuple(sdk.request_ids),
    )


def _redactor(plan: AwsPlan, token: Secret | None) -> Redactor:
    """What blanks the token, and leaves what AWS may well say about this plan."""
    facts = [plan.session_name, plan.region, plan.sts_region, plan.sts_url, plan.password_url, plan.opens]
    for hop in plan.hops:
        facts += [hop.role, registry.parse_role(hop.role).path_and_name.rpartition("/")[2]]
    if token:
        facts += facts_of(token)
    return Redactor([token] if token else [], [*facts, *aws_errors.NAMES])


def _asked(plan: AwsPlan, hop: Hop, token: Secret | None) -> dict[str, str | int]:
    """The parameters of the call that assumes a role."""
    asked: dict[str, str | int] = {
        "RoleArn": hop.role,
        "RoleSessionName": plan.session_name,
        "DurationSeconds": hop.duration_s,
    }
    if hop.session_policy:
        asked["Policy"] = hop.session_policy
    if hop.action == plan_aws.BY_TOKEN:
        assert token is not None  # noqa: S101 - a plan has such a hop for a subject only
        asked["WebIdentityToken"] = token.reveal()
    return asked

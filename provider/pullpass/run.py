"""One run: what it needs of the world, what its steps have found so far, and what it leaves behind."""

from __future__ import annotations

from pullpass import exchange
from pullpass.approvals import orders
from pullpass.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pullpass.approvals import Approval
    from pullpass.approvals.orders import Order
    from pullpass.clock import Clock
    from pullpass.config import Config
    from pullpass.errors import PullpassError
    from pullpass.exchange import Credential, Exchanger, Plan
    from pullpass.identity import Subject
    from pullpass.policy import Decision
    from pullpass.registry import Target
    from pullpass.request import Request
    from pullpass.stored import Stored


class Deps(NamedTuple):
    """What a run needs from the world.

    Attributes:
        load_config: reads the configuration; raises `PullpassError`.
        clock: the run's clock.
        load: resolves the kind of a plan to what exchanges it.
    """

    load_config: Callable[[], Config]
    clock: Clock
    load: Callable[[str], Exchanger] = exchange.load


class Answer(NamedTuple):
    """What a run leaves behind: exit status, and the bytes of stdout and stderr."""

    status: int
    stdout: bytes
    stderr: bytes


class Handed(NamedTuple):
    """A credential that is handed out.

    Attributes:
        credential: what the registry accepts.
        approval: what says so, as it is on disk.
        event: of its audit line: `issued`, `served`, `rotated` or `outage`.
        source: where it came from: `exchange`, `cache` or `outage`.
        cache_s: for how many seconds the kubelet may keep the answer.
    """

    credential: Credential
    approval: Approval
    event: str
    source: str
    cache_s: int


class Case(NamedTuple):
    """A request that policy gives a credential to: what the steps without network have decided.

    Attributes:
        request: what was asked.
        config: the operator's configuration.
        subject: who asks; None without a token.
        target: where the image lives.
        decision: the grant and its identity.
        plan: what would be sent, and the key.
    """

    request: Request
    config: Config
    subject: Subject | None
    target: Target
    decision: Decision
    plan: Plan


class Found:
    """What the steps of one run have found so far; None where a step was not reached.

    `plan` is None as well when nothing is to be sent (`planned` tells the two apart): an answer without a credential.

    It is filled as the run goes, so that `explain` and the audit line of a refusal can tell how far it came.
    """

    def __init__(self) -> None:
        """Nothing is found yet."""
        self.now_s = 0.0  # the clock, as it was read for the decision that is being taken
        self.request: Request | None = None
        self.config: Config | None = None
        self.subject: Subject | None = None
        self.target: Target | None = None
        self.decision: Decision | None = None
        self.plan: Plan | None = None
        self.planned = False
        self.spared: PullpassError | None = None  # why a public image's password is not even asked for
        self.orders: tuple[Order, ...] = ()  # those in force
        self.orders_read = False
        self.required: tuple[str, ...] = ()  # ids of those that revalidate what is asked for
        self.stored: Stored | None = None
        self.asked_cloud = False
        self.handed: Handed | None = None
        self.asides: list[dict[str, object]] = []  # audit lines besides the one about the answer

    @property
    def case(self) -> Case:
        """What was decided, of a run that has come as far as its plan."""
        found = (self.request, self.config, self.target, self.decision, self.plan)
        assert None not in found  # noqa: S101 - `pipeline.decide` found them
        return Case(self.request, self.config, self.subject, self.target, self.decision, self.plan)  # type: ignore[arg-type]

    def aside(self, event: str, code: str, message: str, **more: object) -> None:
        """Note something for the trail that the answer does not show."""
        self.asides.append({"event": event, "code": code, "message": message, **more})


def read_orders(found: Found) -> None:
    """Read the orders, and find those that are about this request.

    Args:
        found: of this run; it has come as far as the decision.

    Raises:
        PullpassError: `order-unreadable`; `blocked-by-order`.
    """
    config, target, decision = found.config, found.target, found.decision
    assert config is not None and target is not None and decision is not None  # noqa: S101, PT018 - `decide` found them
    found.orders = orders.in_force(orders.read(config.paths.state), found.now_s)
    found.required = orders.applying(found.orders, found.subject, target.image, decision.identity)
    found.orders_read = True

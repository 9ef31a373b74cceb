"""The contracts between the parts: what a fault, an observer, a check, a reporter and a target must offer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from harness.model import Effect, Finding, Magnitude, Reading, Sample, Undo

if TYPE_CHECKING:
    from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class ProcessId:
    """Who a process is, for good: a pid alone is reused."""

    pid: int
    start_ticks: int  # field 22 of /proc/PID/stat
    boot_id: str  # /proc/sys/kernel/random/boot_id


@dataclass(frozen=True, kw_only=True)
class Route:
    """A request that the target answers, and the kernels that it takes to answer it."""

    name: str  # "GET /api/knowledge": the name under which traffic is counted
    method: str
    path: str  # with an example query, as probed
    kernels: tuple[str, ...]
    body: Mapping[str, Any] | None = None
    witness_of: str = ""  # the kernel whose life this route shows; "" = traffic only
    full: tuple[str, ...] = ()  # fields that are there in each 2xx answer to the probe, and not empty
    same: tuple[str, ...] = ()  # fields that are the same in each


@dataclass(frozen=True, kw_only=True)
class Link:
    """A way between kernels that can be led elsewhere: whoever calls *callee* reads its address from a file."""

    name: str  # "memory_fusion": all its callers; "librarian->memory_fusion": that one
    address_file: Path  # one line, unix:/PATH or tcp:HOST:PORT; a way of one caller may have none until it is made
    callee: str
    callers: tuple[str, ...]
    probe: Mapping[str, Any] = field(default_factory=dict)  # a message that is always answered and changes nothing
    framing: str = ""  # "u32be": each message has its length before it, as 4 bytes; "": not known


@dataclass(frozen=True, kw_only=True)
class WorkerPool:
    """Processes that share one kind of work and are no kernels."""

    processes: Mapping[str, Mapping[str, str]]  # {name: {pid_file | cmdline: text}}
    function: str  # MODULE:FUNCTION that each worker thread calls for a piece of work


@dataclass(frozen=True, kw_only=True)
class LedgerPage:
    """Where the target tells, page by page, what it finally holds of one kind."""

    url: str  # a path in which {next} stands for the page's cursor; the first is 0
    rows: str  # the key of a page's rows; the cursor of the next page is under "next", no rows = the end
    last: str = ""  # a path that tells the last row alone, and the cursor behind it; "": it is read from its beginning
    proof: str = ""  # how a row's `result` proves that the work was executed; "": it proves nothing


@dataclass(frozen=True, kw_only=True)
class AuditTrail:
    """What the entries of the ledger `audit` tell beyond the decisions and rejections."""

    head: str = ""  # a path that answers with the last entry alone, under the key of the ledger's rows
    digest: str = ""  # the hash of the request's body that each entry's payload carries; "": none
    every_request: bool = False  # each request that changes state has one entry, whatever its answer


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request to which the target always gives the same answer, by one of its models.

    With *fields* it may give other answers: they say where in its JSON stand the name of the *model* that answered,
    its *label* and its *confidence*.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BehaviourQuestion:
    """A request whose answer depends on the target's configuration and rules alone.

    *ignore*: dotted fields of the answer's JSON that differ each time; lists on the way are walked through.
    *counts*: dotted field → the ledger whose number of rows it tells; such a field is ignored as well.
    """

    name: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    ignore: tuple[str, ...] = ()
    counts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LogRoute:
    """Where an actor from outside adds entries to the target's immutable log, and what shows who it is."""

    append: str  # the path of a POST
    actor: str  # the name that its entries bear
    secret_key: str = field(repr=False)  # shown as a bearer token


class Target(Protocol):
    """The system under test, as its manifest describes it."""

    @property
    def name(self) -> str: ...

    @property
    def base_url(self) -> str: ...

    @property
    def routes(self) -> tuple[Route, ...]: ...

    @property
    def safeguards(self) -> tuple[str, ...]: ...

    @property
    def playbooks(self) -> tuple[str, ...]: ...

    @property
    def playbook_effects(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """{playbook: {defers, refuses: kinds of work; cuts_off: ("actor",); serves_stale: routes}}."""
        ...

    @property
    def kernels(self) -> tuple[str, ...]: ...

    @property
    def bus(self) -> Mapping[str, Any] | None: ...

    @property
    def paths(self) -> Mapping[str, Path]: ...

    @property
    def signals(self) -> Mapping[str, Mapping[str, Any]]: ...

    @property
    def event_rules(self) -> tuple[Mapping[str, str], ...]: ...

    @property
    def links(self) -> Mapping[str, Link]: ...

    @property
    def workers(self) -> Mapping[str, WorkerPool]:
        """{pool: its processes and what they call}; process() finds each by its name."""
        ...

    @property
    def ledgers(self) -> Mapping[str, LedgerPage]: ...

    @property
    def audit(self) -> AuditTrail | None:
        """None: the manifest says nothing of it."""
        ...

    @property
    def exclusive(self) -> bool:
        """True when nothing else works on this target: all that it holds was sent by the run."""
        ...

    @property
    def immutable_log(self) -> LogRoute | None:
        """None: nobody from outside may add to it."""
        ...

    @property
    def models(self) -> Mapping[str, Question]:
        """{model: what shows that it is in use}; a model is called after its file."""
        ...

    @property
    def behaviour(self) -> tuple[BehaviourQuestion, ...]:
        """Questions whose answers show which configuration and rules the target follows."""
        ...

    @property
    def permitted(self) -> tuple[str, ...]:
        """The hosts beyond this machine that an authorisation in force names."""
        ...

    @property
    def offers(self) -> tuple[str, ...]:
        """Dotted keys of the manifest, such as "ledgers.intents": what can be judged on this target."""
        ...

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Words for what the target can do beyond its kernels and routes; a scenario's prerequisites name them."""
        ...

    def process(self, name: str) -> ProcessId:
        """The process that runs *name* now. Raises TargetError when it has none."""
        ...


class TargetError(Exception):
    """The target has no such thing, or cannot be reached; the text says which and what it offers."""


class TargetLacks(TargetError):
    """The target's manifest offers nothing of the kind: what needs it does not apply to this target."""


@dataclass(frozen=True, kw_only=True)
class Helper:
    """A helper process of a fault. It appends one JSON object a line to *output*."""

    process: ProcessId
    output: Path


class Hands(Protocol):
    """What a fault may do beyond its own signals: start helpers that cannot outlive the guardian."""

    def start_helper(self, module: str, arguments: Mapping[str, Any]) -> Helper:
        """Runs `python -m MODULE` as a child of the guardian, with *arguments* as JSON in argv[1]."""
        ...

    def alive(self, helper: Helper) -> bool: ...

    def open_gate(self, params: Mapping[str, Any]) -> None:
        """Lets the load generator's attack traffic through, as *params* say (see Gates). Raises TargetError."""
        ...

    def traffic(self) -> Told:
        """How far the traffic is that open_gate() let through."""
        ...


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the load generator says of an attack: requests, each counted once however often it was tried."""

    total: int = 0
    sent: int = 0  # written to the target, or answered by it, at least once; what never left is not sent
    answered: int = 0  # at least once, whatever the answer
    settled: int = 0  # with their last answer, or given up
    given_up: int = 0
    attempts: int = 0  # how often any of them was handed to a connection
    resent: int = 0  # of these, by the engine itself, after a connection that was closed under it
    counted: int = 0  # how many attempts have ended, by the engine's own count
    invalid: int = 0  # of those sent
    in_flight: float = 0.0  # how many were under way at a time, in the mean while there was more to send
    rate: float = 0.0  # attempts a second, from the first to the last request's first one
    unreached: Mapping[str, int] = field(default_factory=dict)  # {why: settled ones of which nothing ever left}
    problem: str = ""  # why it is no longer what was asked for


class Gates(Protocol):
    """The load generator's attacks, one a step of the plan, open from its injection until it is taken back.

    What is let through dies with the process that sends it: it needs no undo.
    """

    def open(self, step_id: str, params: Mapping[str, Any]) -> None: ...

    def told(self, step_id: str) -> Told: ...

    def shut(self, step_id: str) -> None:
        """No request is sent any more when this returns. Does nothing for a step that has no gate."""
        ...


class Witness(Protocol):
    """A second measure of a fault's magnitude, in the same unit, by another process than the one that causes it.

    The conductor makes it before the injection and reads it in the harness's process, beside Fault.sample().
    """

    @property
    def error(self) -> float:
        """By how much mean() may be too low for reasons of its own, such as the few requests that it counted."""
        ...

    def sample(self, effect: Effect) -> float | None:
        """The value now; None: not known yet, or the fault's object is gone. Never blocks for more than 50 ms."""
        ...

    def attained(self) -> None:
        """The fault says that it has reached its magnitude: mean() counts from here."""
        ...

    def ended(self) -> None:
        """The last sample was taken when the fault was over: mean() does not count it."""
        ...

    def mean(self) -> float | None:
        """What the witness saw from attained() on, in the unit of the fault's magnitude; None: nothing."""
        ...

    def also(self) -> Mapping[str, float]:
        """{name: value} of the magnitudes that the fault is asked for besides."""
        ...

    def finish(self, effect: Effect) -> None:
        """The fault has been taken back: a count is read once more. May take up to 2 s."""
        ...


ATTAIN_LIMIT_S = 10.0


class Fault(Protocol):
    """A frozen dataclass whose fields are the keys of its YAML, plus `target: str`.

    `undo` primitives are interpreted by harness/undo.py, in the guardian, which imports no fault: a fault heals
    even when all of its code is gone.

    Some attributes may be left out: `attain_limit_s`, the seconds that it may take to reach its magnitude before its
    clock starts all the same (else ATTAIN_LIMIT_S); `choices`, the words that its text fields take:
    {field: (word, ...)}; `defaults`, what its name alone in a pool stands for: {field: value}; `kernels`, all the
    kernels that it is aimed at, for a fault of more than one; `limit_s`, of a fault given by a count: it ends when it
    says that it is done, and after so many seconds all the same; `of_generator`, true when all of it lives in the load
    generator and dies with it: it has nothing to undo, and its `senders_on(target)` are the addresses that the target
    sees;
    `subject_on(target)`, for a subject that only the target's manifest tells, such as the first worker of a pool;
    `target_ends_it`, true when a target that is well ends it long before its time; `also_asked`, the magnitudes
    besides `asked` and the duration, each of whose achieved value stands in a sample's detail under "also"; and
    `witness`, in words the measure that shows the magnitude independently, which `start_witness(target, undo, hands)`
    makes: a fault that names one and whose witness says nothing, or less than the fault itself, is no PASS.
    """

    duration_field: ClassVar[str]  # which field is its length in seconds; "" for a fault given by a count
    min_duration_s: ClassVar[float]

    @property
    def subject(self) -> str:
        """What a safeguard that covers this fault names: a kernel, an actor, a resource."""
        ...

    @property
    def asked(self) -> Magnitude: ...

    def prepare(self, target: Target) -> Undo:
        """How it will be taken back. Touches nothing.

        Raises TargetLacks when the target's manifest offers no such thing, TargetError when it is in no state for it.
        """
        ...

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        """Does it, and returns what was really done."""
        ...

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        """Measures it, about twice a second, until it ends. Never blocks for more than 50 ms."""
        ...


class View(Protocol):
    """All that an observer gets: the target and a clock. No plan, no faults, no run state."""

    @property
    def target(self) -> Target: ...

    def now_s(self) -> float:
        """Seconds since the run started (CLOCK_MONOTONIC)."""
        ...

    def from_wall(self, wall_time_s: float) -> float:
        """Epoch seconds of this machine's clock → seconds since the run started."""
        ...


class Observer(Protocol):
    """Reads one source of signals. Stateful: it turns what it reads into samples and edges.

    Where it has several instances, each says in `about` what it looks at. One whose requests may change the target's
    state yields each as a Reading with `asked`, has `posting`, true while one is under way, and `stop_posting()`.
    """

    every_s: ClassVar[float]

    def observe(self, view: View) -> Iterable[Reading]:
        """May block on I/O for as long as its own time-out (<= 2 s): each observer has a greenlet of its own."""
        ...

    def close(self) -> None: ...


class Check(Protocol):
    """A frozen dataclass whose fields are the claim's args, plus `claim: str`.

    `observers` may name, by the stems of their files, the observers without which it cannot be judged: where the
    target's manifest offers one of them nothing to look at, the timeline says so and the run never passes.
    `never(setup)` may say why no run of a scenario can pass it, "" when one can: such a scenario is refused.
    Its attribute `sources` names what it reads of the run folder, as docs/ADDING.md says: ("requests.csv", ...).
    A check with a class attribute `invariant` (model.Invariant) is claimed by every run, without being asked for.
    """

    def check(self, record: Record) -> Finding: ...


class Reporter(Protocol):
    """A pure function of a run: the same record and findings give the same text, byte for byte."""

    filename: ClassVar[str]

    def render(self, record: Record, findings: Sequence[Finding]) -> str: ...

"""Network faults on a link: what callers feel, what the proxy measures, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faults.connection_reset import ConnectionReset
from faults.helpers import link as link_helper
from faults.helpers.link_proxy import Dice
from faults.helpers.reading import helper_of
from faults.network_latency import NetworkLatency
from faults.network_loss import NetworkLoss
from faults.network_partition import NetworkPartition
from harness.contracts import Hands, TargetError, TargetLacks
from harness.guardian_link import GuardianLink
from harness.model import Effect, Hold, Undo
from harness.primitives.kill_marked import marked
from harness.primitives.restore_address import OP as RESTORE_ADDRESS
from harness.process import read_process, send
from harness.undo import heal
from tests.contract.lines import LinkTarget, linked
from tests.processes import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.beside]

ALL = [
    NetworkLatency(target="memory", latency_ms=50, duration_seconds=5),
    NetworkLoss(target="memory", loss_percent=50, duration_seconds=5),
    ConnectionReset(target="memory", duration_seconds=5),
    NetworkPartition(target="memory", duration_seconds=5),
]


@pytest.fixture
def guardian(tmp_path: Path) -> Iterator[GuardianLink]:
    folder = tmp_path / "run"
    folder.mkdir()
    one = GuardianLink(folder, f"link-{os.getpid()}-{tmp_path.name}")
    yield one
    one.close()


@pytest.fixture(params=["unix", "tcp"])
def target(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LinkTarget]:
    with linked(tmp_path, request.param) as one:
        yield one


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[LinkTarget]:
    with linked(tmp_path) as one:
        yield one


class Live:
    """A fault that is armed and injected on *target*."""

    def __init__(self, fault: Any, target: Any, guardian: GuardianLink, name: str = "f") -> None:
        self.fault, self.target, self.guardian, self.name = fault, target, guardian, name
        self.hands: Hands = guardian.hands(name)
        self.undo: Undo = guardian.arm(name, fault.prepare(target), 60)
        self.effect: Effect = fault.inject(target, self.undo, self.hands)
        guardian.active(name)

    def sample(self) -> Any:
        return self.fault.sample(self.target, self.undo, self.effect, self.hands)

    def heal(self) -> list[str]:
        results = self.guardian.heal(self.name)
        assert all(result["verified"] for result in results), results
        assert not marked(self.guardian.marker(self.name))
        return [f"{result['op']}: {result['did']}" for result in results]


def first_state(target: LinkTarget) -> tuple[bytes, int, bool]:
    return target.address_file.read_bytes(), target.address_file.stat().st_mode, target.own_file.exists()


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: type(fault).__name__)
def test_prepared_injected_and_healed_twice(fault: Any, target: LinkTarget, guardian: GuardianLink) -> None:
    before = first_state(target)
    client = target.client()
    assert client.call() < 40
    unused = fault.prepare(target)
    assert first_state(target) == before, "prepare touches nothing"
    assert all(result["verified"] for result in heal(unused)) and first_state(target) == before
    live = Live(fault, target, guardian)
    assert first_state(target) != before
    assert live.sample().achieved is None, "no request, no measure"
    wait_for(lambda: client.outcome() and live.sample().achieved is not None, 8, "a measure")
    assert live.sample().achieved >= fault.asked.floor
    for _ in range(2):
        live.heal()
        assert first_state(target) == before
    assert client.call() < 40
    assert fault.subject == "memory"


def test_latency_is_what_was_asked_and_no_more(target: LinkTarget, guardian: GuardianLink) -> None:
    live = Live(NetworkLatency(target="memory", latency_ms=120, jitter_ms=20, duration_seconds=5), target, guardian)
    client = target.client()
    took_ms = sorted(client.call() for _ in range(15))
    assert took_ms[0] >= 99 and 110 <= took_ms[7] <= 160, took_ms
    assert 115 <= wait_for(lambda: live.sample().achieved, 3) <= 160
    live.heal()
    assert client.call() < 40


def test_loss_is_the_share_that_was_asked(target: LinkTarget, guardian: GuardianLink) -> None:
    live = Live(NetworkLoss(target="memory", loss_percent=20, duration_seconds=5), target, guardian)
    client, before = target.client(), len(target.heard)
    seen = Counter(client.outcome(timeout_s=0.1) for _ in range(50))
    assert seen == {"ok": 40, "TimeoutError": 10}, seen
    assert len(target.heard) - before == 40, "what is lost has never come to the callee"
    assert wait_for(lambda: live.sample().achieved, 3) == pytest.approx(20, abs=1)
    live.heal()
    assert {client.outcome() for _ in range(20)} == {"ok"}


def test_a_reset_is_a_reset(target: LinkTarget, guardian: GuardianLink) -> None:
    live = Live(ConnectionReset(target="memory", reset_percent=50, duration_seconds=5), target, guardian)
    client = target.client()
    seen = Counter(client.outcome() for _ in range(40))
    assert seen == {"ok": 20, "ConnectionResetError": 20}, seen
    assert wait_for(lambda: live.sample().achieved, 3) == pytest.approx(50, abs=1)
    live.heal()
    assert {client.outcome() for _ in range(20)} == {"ok"}


def test_a_partition_takes_the_call_and_says_nothing(target: LinkTarget, guardian: GuardianLink) -> None:
    live = Live(NetworkPartition(target="memory", duration_seconds=5), target, guardian)
    client, before = target.client(), len(target.heard)
    assert [client.outcome(timeout_s=0.2) for _ in range(3)] == ["TimeoutError"] * 3
    assert len(target.heard) == before
    ended: list[str] = []
    waits = threading.Thread(target=lambda: ended.append(target.client().outcome(timeout_s=20)))
    waits.start()
    wait_for(lambda: live.sample().detail.get("open"), 3)
    began_s = time.monotonic()
    live.heal()
    waits.join(5)
    assert ended == ["ConnectionResetError"] and time.monotonic() - began_s < 2, "let go at once"
    assert client.outcome() == "ok"


def test_what_is_under_way_when_it_is_healed_is_answered(unix: LinkTarget, guardian: GuardianLink) -> None:
    live = Live(NetworkLatency(target="memory", latency_ms=5000, duration_seconds=5), unix, guardian)
    took_ms: list[float] = []
    waits = threading.Thread(target=lambda: took_ms.append(unix.client().call(timeout_s=20)))
    waits.start()
    wait_for(lambda: '"seen": 1' in Path(live.effect.facts["output"]).read_text(), 3)
    order = [told.split(":")[0] for told in live.heal()]
    waits.join(5)
    assert order == ["restore_address", "kill_marked"], "callers are led away before the proxy ends"
    assert took_ms and took_ms[0] < 4000, "it passed at once, and it passed"


def test_one_caller_alone(unix: LinkTarget, guardian: GuardianLink) -> None:
    assert link_helper.find_link(unix, "reader→memory").name == "reader->memory"  # type: ignore[arg-type]
    fault = NetworkLatency(target="reader -> memory", latency_ms=100, duration_seconds=5)
    live = Live(fault, unix, guardian)
    assert fault.subject == "memory" and unix.own_file.exists()
    assert unix.own_client().call() > 95 and unix.client().call() < 60
    assert "given back" in live.heal()[0]
    assert not unix.own_file.exists() and unix.own_client().call() < 60


def test_the_callee_is_away_behind_the_proxy(unix: LinkTarget, guardian: GuardianLink, tmp_path: Path) -> None:
    unix.address_file.write_text(f"unix:{tmp_path / 'nobody.sock'}\n")
    live = Live(NetworkLatency(target="memory", latency_ms=10, duration_seconds=5), unix, guardian)
    assert unix.client().outcome() == "ConnectionResetError"
    assert wait_for(lambda: not live.sample().detail, 1) and live.sample().achieved is None
    live.heal()


def test_two_faults_on_one_link_are_refused(unix: LinkTarget, guardian: GuardianLink) -> None:
    live = Live(ALL[0], unix, guardian)
    for name in ("memory", "reader->memory"):
        with pytest.raises(TargetError, match="another network fault is on this link already"):
            replace(ALL[0], target=name).prepare(unix)
    live.heal()
    assert replace(ALL[0], target="memory").prepare(unix)


def test_an_address_that_changed_in_between_is_not_overwritten(unix: LinkTarget, guardian: GuardianLink) -> None:
    undo = guardian.arm("f", ALL[0].prepare(unix), 60)  # type: ignore[arg-type]
    unix.address_file.write_text("unix:/elsewhere\n")
    with pytest.raises(TargetError, match="has changed since"):
        ALL[0].inject(unix, undo, guardian.hands("f"))  # type: ignore[arg-type]
    assert all(result["verified"] for result in guardian.heal("f"))
    assert unix.address_file.read_text() == "unix:/elsewhere\n" and not marked(guardian.marker("f"))


def test_the_target_leads_its_callers_away_itself(unix: LinkTarget, guardian: GuardianLink) -> None:
    live = Live(ALL[0], unix, guardian)
    unix.address_file.write_text("unix:/elsewhere\n")
    sample = live.sample()
    assert sample.hold is Hold.TARGET and "'unix:/elsewhere'" in sample.because
    assert "left alone" in live.heal()[0] and unix.address_file.read_text() == "unix:/elsewhere\n"


def test_a_target_that_is_gone_counts_as_healed(unix: LinkTarget, guardian: GuardianLink) -> None:
    live = Live(ALL[0], unix, guardian)
    unix.address_file.unlink()
    assert live.sample().hold is Hold.TARGET
    assert "gone" in live.heal()[0] and not unix.address_file.exists()


def test_a_killed_proxy_is_a_lost_fault_and_still_healed(unix: LinkTarget, guardian: GuardianLink) -> None:
    before = first_state(unix)
    live = Live(ALL[0], unix, guardian)
    process = read_process(live.effect.facts["pid"])
    assert process and send(process, signal.SIGKILL)
    assert wait_for(lambda: live.sample().hold is Hold.LOST, 3)
    live.heal()
    assert first_state(unix) == before and unix.client().outcome() == "ok"


def test_a_port_that_is_taken_is_said(unix: LinkTarget, guardian: GuardianLink, tmp_path: Path) -> None:
    before = first_state(unix)
    undo = ALL[0].prepare(unix)  # type: ignore[arg-type]
    (tmp_path / "other").mkdir()
    with linked(tmp_path / "other", "tcp") as taken:
        port = taken.address_file.read_text().strip()
        stolen = [{**one, "ours": f"{port}\n"} if one["op"] == RESTORE_ADDRESS else one for one in undo.primitives]
        armed = guardian.arm("f", Undo(primitives=tuple(stolen)), 60)
        with pytest.raises(TargetError, match=r"memory: (cannot listen on port|the proxy does not listen)"):
            ALL[0].inject(unix, armed, guardian.hands("f"))  # type: ignore[arg-type]
    assert all(result["verified"] for result in guardian.heal("f")) and first_state(unix) == before


def test_what_the_target_lacks_is_said(tmp_path: Path, guardian: GuardianLink) -> None:
    with linked(tmp_path, framing="") as plain:
        with pytest.raises(TargetLacks, match=r"no link 'memroy'\. Did you mean 'memory'\?"):
            replace(ALL[0], target="memroy").prepare(plain)  # type: ignore[arg-type]
        with pytest.raises(TargetLacks, match="framing of the link 'memory' is not known"):
            ALL[1].prepare(plain)  # type: ignore[arg-type]
        live = Live(ALL[0], plain, guardian)
        assert plain.client().call() > 45, "delayed by what one read gives"
        live.heal()
        plain.address_file.write_text("tcp:192.0.2.7:80\n")
        with pytest.raises(TargetError, match="not an address on this machine"):
            ALL[0].prepare(plain)  # type: ignore[arg-type]
        plain.address_file.write_text("\n")
        with pytest.raises(TargetError, match="has no address"):
            ALL[0].prepare(plain)  # type: ignore[arg-type]


def test_after_its_belt_the_proxy_passes_everything_and_stays(
    unix: LinkTarget, guardian: GuardianLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_helper, "BELT_S", -4.5)
    live = Live(NetworkPartition(target="memory", duration_seconds=5), unix, guardian)
    client = unix.client()
    assert client.outcome(timeout_s=0.1) in ("TimeoutError", "ConnectionResetError")
    wait_for(lambda: client.outcome() == "ok", 3, "a way through")
    assert live.hands.alive(helper_of(live.effect))
    live.heal()


@pytest.mark.parametrize("percent", [1, 7, 30, 50, 100])
def test_the_dice_choose_the_share_at_places_that_the_seed_decides(percent: float) -> None:
    first, again, other = (Dice(percent, seed) for seed in (7, 7, 8))
    throws = [first.throw() for _ in range(2000)]
    assert throws == [again.throw() for _ in range(2000)]
    assert percent == 100 or throws != [other.throw() for _ in range(2000)]
    assert sum(throws) == pytest.approx(20 * percent, abs=1)
    assert first.chosen_percent == pytest.approx(percent, rel=0.05)
    assert not any(Dice(0, 1).throw() for _ in range(100)) and Dice(percent, 1).chosen_percent is None


def test_rows_are_whole_json(unix: LinkTarget, guardian: GuardianLink) -> None:
    live = Live(ALL[0], unix, guardian)
    client = unix.client()
    wait_for(lambda: client.outcome() and live.sample().achieved, 4)
    live.heal()
    rows = [json.loads(line) for line in Path(live.effect.facts["output"]).read_text().splitlines()]
    assert "listening" in rows[0] and rows[-1]["seen"] == rows[-1]["forwarded"] == rows[-1]["answered"] >= 1

"""The door of Python: a call that runs a scenario and answers with its incident."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from harness.suite import RunRefused, enhanced_chaos_runner
from tests.drafts import KERNELS
from tests.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
NEEDED_BY_ALL = ("api_server", "message_bus")  # of one every route has need, of the other the flood itself


def test_another_actor_kernel_and_rate_drawn_at_random_pass_too(tmp_path: Path) -> None:
    """The twin knows nothing of the scenario: what it sees is what is done to it."""
    draw = random.Random(seed := random.SystemRandom().randrange(2**31))
    actor, rate = f"{draw.choice(('mallory', 'agent', 'x'))}_{draw.randrange(1000)}", draw.randrange(300, 1100)
    kernel = draw.choice([name for name in KERNELS if name not in NEEDED_BY_ALL])
    text = (ROOT / "scenarios" / "enhanced" / "MF01_triple_threat.yaml").read_text()
    for old, new in (("rogue_kernel", actor), ("memory_fusion", kernel), (": 1000,", f": {rate},")):
        assert old in text
        text = text.replace(old, new)
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    run = enhanced_chaos_runner.run_scenario(str(mine), time_scale=0.1, seed=3, out=tmp_path / "out")
    incident = asyncio.run(run)
    assert (incident["verdict"], incident["seed"]) == ("PASS", 3), f"drawn by {seed}: {actor}, {kernel}, {rate} msg/s"


@pytest.mark.beside
def test_a_call_with_a_wrong_word_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunRefused, match="Did you mean 'MF01_triple_threat'"):
        asyncio.run(enhanced_chaos_runner.run_scenario("MF01_triple_thread", out=tmp_path))

"""The model upstream as a process: it says what a message is, and how sure it is. It knows nothing of the platform."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import Any

from twin.config import Config
from twin.fields import text
from twin.kernel import beat
from twin.models import conversation
from twin.rpc import KernelError, serve


async def _run(name: str, config: Config, heartbeat: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    model = conversation.fitted()

    async def handle(op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "answer":
            raise KernelError(404, "unknown_operation", op=op)
        label, confidence = model.predict(text(payload, "text"))
        return {"label": label, "confidence": round(confidence, 4)}

    await serve(config.run_dir / f"{name}.sock", handle)
    beating = asyncio.create_task(beat(heartbeat, config.thresholds.heartbeat_every_s))
    await stop.wait()
    beating.cancel()


def run_service(name: str, config: Config, heartbeat: int) -> None:
    """The life of the service's process, from its fork to its end."""
    logging.basicConfig(
        filename=config.log_dir / f"{name}.log",
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        level=logging.INFO,
        force=True,
    )
    os.set_blocking(heartbeat, False)
    asyncio.run(_run(name, config, heartbeat))

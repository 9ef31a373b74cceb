"""Whether a target is in its steady state between two waves: all routes answer, all kernels run, nothing is engaged."""

from __future__ import annotations

import http.client
from typing import Any

from harness.loopback import Client
from harness.suite_check import unwell
from harness.target import ManifestTarget

ASK_LIMIT_S = 3.0


def unsteady(target: ManifestTarget) -> str:
    """What is not well, in words; "" when all that the manifest shows is."""
    return unwell(target) or _control_plane(target)


def _control_plane(target: ManifestTarget) -> str:
    client = Client(target.base_url, timeout_s=ASK_LIMIT_S, permitted=target.permitted)
    try:
        for name, look in (("kernels", _kernels), ("safeguards", _safeguards)):
            if name in target.signals:
                trouble = look(client.get_json(target.signals[name]["url"]))
                if trouble:
                    return trouble
    except (OSError, http.client.HTTPException) as error:
        return f"the control plane: {error or type(error).__name__}"
    except (KeyError, TypeError, AttributeError) as error:
        return f"the control plane's answer cannot be read: {type(error).__name__}: {error}"
    finally:
        client.close()
    return ""


def _kernels(told: Any) -> str:
    gone = [f"{one['name']} is {one['state']}" for one in told["kernels"] if one["state"] != "running"]
    return ", ".join(gone[:3])


def _safeguards(told: Any) -> str:
    engaged = [
        f"{row['name']} ({one.get('subject', '')})" for row in told["safeguards"] for one in row.get("engaged") or ()
    ]
    return f"still engaged: {', '.join(engaged[:3])}" if engaged else ""

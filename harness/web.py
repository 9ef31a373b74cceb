"""The "Grace" tab of the web page: what goes on in a run, a HALT, and the reports of the runs that are over."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request, send_file

from harness.web_state import Watched, rows_of, state_of

TEMPLATES = Path(__file__).with_name("templates")
TYPES = {".html": "text/html", ".xml": "text/xml", ".json": "application/json"}
TAB = {
    "extended_tabs": [{"key": "grace", "title": "Grace"}],
    "extended_tables": [
        {"key": "grace", "structure": [{"key": "what", "title": "Grace"}, {"key": "state", "title": "now"}]}
    ],
    "extended_csv_files": [{"href": "./grace/", "title": "Grace: live page, HALT and reports"}],
}


def page() -> tuple[str, str]:
    """(the page, its content security policy): one file, no network but its own state."""
    html, style, script = ((TEMPLATES / f"grace.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; "
        "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
    )
    return html.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script), policy


def blueprint(session: Watched, base_path: str = "", guard: Callable[[Any], Any] = lambda view: view) -> Blueprint:
    """Routes under *base_path*/grace, and the hooks into Locust's own page. *guard* wraps what needs a login."""
    door = Blueprint("grace", __name__, url_prefix=f"{base_path}/grace")
    _pages(door, session, guard)
    _hooks(door, session, base_path)
    return door


def _pages(door: Blueprint, session: Watched, guard: Callable[[Any], Any]) -> None:
    html, policy = page()
    tab = (TEMPLATES / "tab.js").read_text(encoding="utf-8")

    @door.get("/")
    @guard
    def grace() -> Response:
        return Response(html, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})

    @door.get("/tab.js")
    def grace_tab() -> Response:
        return Response(tab, mimetype="application/javascript")

    @door.get("/state.json")
    @guard
    def grace_state() -> Response:
        answer = jsonify(state_of(session))
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @door.post("/halt")
    @guard
    def grace_halt() -> tuple[Response, int]:
        healed = session.halt_run()
        if healed is None:
            return jsonify({"halted": False, "healed": {}, "because": "no run is going on"}), 409
        return jsonify({"halted": True, "healed": dict(healed)}), 200

    @door.get("/runs/<run_id>/<name>")
    @guard
    def grace_file(run_id: str, name: str) -> Response:
        path = session.board.file(run_id, name)
        if path is None:
            abort(404)
        answer = send_file(path.resolve(), mimetype=TYPES.get(path.suffix, "text/plain"), max_age=0)
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer


def _hooks(door: Blueprint, session: Watched, base_path: str) -> None:
    """Into Locust's page: a start that is refused is answered here; its table and its script are added."""

    @door.before_app_request
    def grace_refuses() -> Response | None:
        if request.method != "POST" or request.path != f"{base_path}/swarm":
            return None
        why = session.prepare(request.form.to_dict())
        return jsonify({"success": False, "message": why, "host": request.form.get("host", "")}) if why else None

    @door.after_app_request
    def grace_adds(answer: Response) -> Response:
        if answer.status_code != 200 or request.method != "GET":
            return answer
        if request.path == f"{base_path}/stats/requests":
            table = {"key": "grace", "data": rows_of(state_of(session))}
            answer.set_data(json.dumps({**(answer.get_json() or {}), "extended_stats": [table]}))
        elif request.path == f"{base_path}/":
            script = '<script src="./grace/tab.js" defer></script></body>'
            answer.set_data(answer.get_data(as_text=True).replace("</body>", script))
        return answer

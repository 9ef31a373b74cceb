"""Model integrity check: sees that a model file is not what was fitted, or answers as that one would not."""

from __future__ import annotations

from twin.config import Config
from twin.files import HashedFile
from twin.models import MODELS
from twin.models.store import ModelError, checksums, load
from twin.models.training import answers_wrongly
from twin.wholeness import Wholeness


class ModelIntegrityCheck:
    """Checksum first; then, for bytes that it has not seen yet, it loads the model and asks it something."""

    name = "model_integrity_check"
    playbook = "model_restore"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.wholeness = Wholeness()
        self.files = {name: HashedFile(config.models_dir / name) for name in MODELS}
        self._answers: dict[str, tuple[str, str]] = {}  # model → (hash, what is wrong with its answers)

    def problems(self, now_s: float) -> dict[str, str]:
        """{model: what is wrong with it}."""
        try:
            wanted = checksums(self.config)
        except ModelError as error:
            return dict.fromkeys(MODELS, str(error))
        return {name: self._problem(name, wanted.get(name, ""), now_s) for name in MODELS}

    def _problem(self, name: str, wanted: str, now_s: float) -> str:
        found = self.files[name].sha256(now_s)
        if not found:
            return "it cannot be read"
        if found != wanted:
            return f"its sha256 is {found[:12]}, not {wanted[:12]}"
        if self._answers.get(name, ("", ""))[0] != found:
            self._answers[name] = (found, self._ask(name, wanted))
        return self._answers[name][1]

    def _ask(self, name: str, wanted: str) -> str:
        try:
            return answers_wrongly(name, load((self.config.models_dir / name).read_bytes(), wanted))
        except (ModelError, OSError) as error:
            return str(error)

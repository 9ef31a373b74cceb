"""Config drift guard: sees that the settings in force are not the ones that were approved, and says which."""

from __future__ import annotations

from twin.config import Config
from twin.files import HashedFile
from twin.settings import SettingsError, approved_copy, approved_sha256, drifted
from twin.wholeness import Wholeness

SUBJECT = "config"


class ConfigDriftGuard:
    """Compares hashes; what has drifted is read for the reason only."""

    name = "config_drift_guard"
    playbook = "config_restore"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.wholeness = Wholeness()
        self.file = HashedFile(config.settings_file)

    def problems(self, now_s: float) -> dict[str, str]:
        """{"config": what is wrong with it}."""
        try:
            wanted = approved_sha256(self.config)
            found = self.file.sha256(now_s)
            if found == wanted:
                return {SUBJECT: ""}
            if not found:
                return {SUBJECT: "it cannot be read"}
            return {SUBJECT: drifted(self.file.path.read_bytes(), approved_copy(self.config))}
        except (SettingsError, OSError) as error:
            return {SUBJECT: str(error)}

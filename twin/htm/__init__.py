"""HTM: the workers that carry intents out."""

WORKERS = ("htm_worker_1", "htm_worker_2")
WORKER_FUNCTION = "twin.htm.execute:execute"

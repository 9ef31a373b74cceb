"""Safeguards: each observes by itself and decides from what it saw."""

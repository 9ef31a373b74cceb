"""Proves that no fault outlives the harness: SIGKILL at every step of every fault's life, on small victims."""

"""Harness with one part broken on purpose: which finding names it."""

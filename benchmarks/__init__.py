"""Benchmarks: ours beside the field's tools, interleaved in one run, as ratios."""

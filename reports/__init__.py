"""Reporters, one a file: pure functions of a Record and its findings."""

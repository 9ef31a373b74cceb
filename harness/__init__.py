"""The harness: from a scenario file to a verdict with evidence."""

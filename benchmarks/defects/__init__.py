"""Planted defects of the embedded Grace and of the harness, each in each scenario where it can strike."""

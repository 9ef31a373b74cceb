"""Programs that a fault runs in a process of its own, so that the load generator is not disturbed."""

"""Attacks: seeded payloads, one family a file, and what drives them until each is settled. Locust is not needed."""

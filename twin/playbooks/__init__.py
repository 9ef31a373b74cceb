"""Playbooks: what is done about an incident, and what is read back to know that it worked."""

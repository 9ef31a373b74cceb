"""The flood engine against a server that does everything that HTTP allows, and more."""

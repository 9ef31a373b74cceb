"""The message bus: authenticated actors, access rules, a broker and a client."""

"""The flood engine: many keep-alive HTTP/1.1 connections driven by one greenlet, exact in all that it counts."""

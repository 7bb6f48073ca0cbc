"""Servers with a fault built in, to prove that tests see it."""

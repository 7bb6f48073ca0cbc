"""Durable functions for Python, delivered over the message broker you already run."""

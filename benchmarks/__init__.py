"""Benchmarks: what the README and docs/performance.md quote. `make bench` runs them; nothing here is a test."""

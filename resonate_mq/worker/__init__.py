"""The worker: takes hints, holds leases, runs executions, drains."""

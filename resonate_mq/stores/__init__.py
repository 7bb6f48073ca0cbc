"""Stores: where promises, tasks and schedules live. The port and its adapters; SQL stands in .sql files beside them."""

"""Transports: how hints and unblocks reach worker groups, and how requests reach a server. The port and its adapters."""

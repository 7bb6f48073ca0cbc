"""How hints and unblocks reach worker groups, and how requests reach a server: the port and its adapters."""

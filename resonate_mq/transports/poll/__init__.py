"""HTTP poll: hints and unblocks as server-sent events (protocol 1.6). `hub` serves them, `client` consumes."""

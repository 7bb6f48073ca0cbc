"""Numbers of the machine's own rules. Each carries its unit and the decision it comes from."""

HINT_CLAIM_MS = 2_000  # the committing server publishes within this time before anyone else may; D17
STALL_LIMIT = 10  # counted acquisitions without progress before a task is halted; D14

"""What the demo's orders consist of; shared by those who execute and those who watch."""

GROUP = "resonate-mq-demo"
LEDGER = "RESONATE_MQ_DEMO_LEDGER"
"""Environment variable with the path of the ledger."""
STEPS = ("reserve", "charge", "pack", "ship", "notify")
WORK_S = 0.25  # how long a step takes

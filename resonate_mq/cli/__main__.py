"""`python -m resonate_mq.cli` is `resonate-mq`."""

from resonate_mq.cli import main

main()

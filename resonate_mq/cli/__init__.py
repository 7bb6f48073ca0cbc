"""The command line: `resonate-mq`. Sits on top of everything; nothing imports it.

Command modules import only typer and the standard library at their top; what a command needs it imports when it
runs, so that `resonate-mq --help` answers at once.
"""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed (the reason is on stderr), 2 wrong usage."""
    from resonate_mq.cli.app import app
    from resonate_mq.cli.output import CliError, complain

    try:
        app(args=None if arguments is None else list(arguments), prog_name="resonate-mq")
    except CliError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)

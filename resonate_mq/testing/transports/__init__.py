"""The conformance suite of transports: written once against the port, run over every transport.

A transport's test module says, as a `Harness`, how to build it, break it and restart its broker; `cases_for` gives what
it has to stand. The suite needs no test framework: a case is a coroutine that raises AssertionError.
"""

from resonate_mq.testing.transports.case import Case, cases_for
from resonate_mq.testing.transports.harness import Fault, Harness
from resonate_mq.testing.transports.matrix import matrix_lines

__all__ = ["Case", "Fault", "Harness", "cases_for", "matrix_lines"]

"""The table case × transport that a test run prints at its end."""

from collections.abc import Mapping

from resonate_mq.testing.transports.case import ALL

NOT_APPLICABLE = "-"


def matrix_lines(results: Mapping[tuple[str, str], str]) -> list[str]:
    """Return the table as lines of text.

    Args:
        results: (transport, case name) -> one word such as `passed`. A missing one means that it does not apply.
    """
    transports = sorted({transport for transport, _ in results})
    cases = [case.name for case in ALL if any(name == case.name for _, name in results)]
    width = max([len(name) for name in cases], default=4)
    lines = ["case".ljust(width) + "".join(f"  {transport:>10}" for transport in transports)]
    for name in cases:
        words = [results.get((transport, name), NOT_APPLICABLE) for transport in transports]
        lines.append(name.replace("_", " ").ljust(width) + "".join(f"  {word:>10}" for word in words))
    return lines

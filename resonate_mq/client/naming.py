"""How `func` is told from the arguments of the function: second, or as `func=` (seed 003, CL-11, CL-12)."""

from typing import Any


def split_func(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    """Return the function and its positional arguments; takes `func` out of `kwargs` if it stood there.

    With a positional function, `func=` belongs to the function.

    Raises:
        TypeError: there is no function.
    """
    if args:
        return args[0], args[1:]
    if "func" in kwargs:
        return kwargs.pop("func"), ()
    raise TypeError("missing the function: resonate.run(id, func, ...), where func is a function or its name")

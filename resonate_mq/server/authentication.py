"""Who may talk to this server: one static bearer token, or everybody (D28)."""

from hmac import compare_digest

from resonate_mq.protocol.errors import InvalidRequestError


class TokenGate:
    """Compares what a request carries with the configured token, in constant time."""

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    @property
    def open(self) -> bool:
        """Tell whether no token is asked for."""
        return self._token is None

    def admits(self, *offered: object) -> bool:
        """Tell whether one of `offered` is the token."""
        token = self._token
        if token is None:
            return True
        return any(
            isinstance(one, str) and compare_digest(one.encode("utf-8", "surrogatepass"), token) for one in offered
        )

    def check(self, *offered: object) -> None:
        """Raise unless admitted.

        Raises:
            InvalidRequestError: 401.
        """
        if not self.admits(*offered):
            raise InvalidRequestError("Unauthorized", 401)


def bearer(header: bytes | str | None) -> str | None:
    """Return the token of an `Authorization: Bearer` header, None when there is none."""
    if not header:
        return None
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    scheme, _, token = text.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None

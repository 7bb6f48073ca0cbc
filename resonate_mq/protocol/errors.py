"""The one error of the protocol layer: a request that cannot be accepted."""


class InvalidRequestError(Exception):
    """A request is malformed or violates a rule of the protocol.

    Attributes:
        message: sentence for the caller; says what was found and what was expected.
        status: status of the answer, 400 unless said otherwise (protocol section 1.2).
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message, status)
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return self.message

"""Reads server-sent events from chunks that may end anywhere, within a character or a line end included."""


class SseParser:
    """Collects bytes and gives the data of complete events, and notices comments.

    Attributes:
        comments: comment lines seen; our server sends one at the start and at least every 10 s.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self.comments = 0
        self._max_event_bytes = max_event_bytes
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the payloads completed by `chunk`.

        Raises:
            ValueError: an event is longer than allowed.
        """
        events: list[bytes] = []
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) + self._size > self._max_event_bytes:
            raise ValueError(f"an event of more than {self._max_event_bytes} bytes")
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data, self._size = [], 0
            elif line.startswith(b":"):
                self.comments += 1
            elif line.startswith(b"data:"):
                data = line[5:].removeprefix(b" ")
                self._data.append(data)
                self._size += len(data)
        return events

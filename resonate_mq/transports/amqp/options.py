"""What an operator may set about one AMQP transport, in code or in the query of its URL."""

from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from resonate_mq.transports.masking import mask_secrets
from resonate_mq.transports.port import TransportConfigError

QUEUE_TYPES = ("quorum", "classic")


@dataclass(frozen=True, slots=True, kw_only=True)
class AmqpOptions:
    """Settings of one transport; the defaults come from measurements (practice, section 4.1).

    Attributes:
        queue_type: `quorum` (replicated, survives everything) or `classic` (faster; the server re-sends what a broken
            disk loses). It must be the type of queues that exist already.
        message_ttl_s: hints older than this die in the queue; twice the longest interval at which a hint is re-sent.
        window: messages sent and not confirmed at one time.
        confirm_s: seconds until an unconfirmed message is reported as failed.
        connect_s: seconds for one attempt to connect.
        rpc_s: seconds for one declaration or similar.
        heartbeat_s: AMQP heartbeat.
        probe_s: seconds between two questions to the broker whether it still answers.
        silence_s: seconds without an answer after which the connection is rebuilt.
        retry_cap_s: longest wait between two attempts to connect.
    """

    queue_type: str = "quorum"
    message_ttl_s: float = 600.0
    window: int = 512
    confirm_s: float = 5.0
    connect_s: float = 5.0
    rpc_s: float = 5.0
    heartbeat_s: int = 10
    probe_s: float = 2.0
    silence_s: float = 4.0
    retry_cap_s: float = 1.0

    def __post_init__(self) -> None:
        if self.queue_type not in QUEUE_TYPES:
            raise TransportConfigError(f"amqp option queue_type={self.queue_type!r}: expected one of {QUEUE_TYPES}")
        for name in ("message_ttl_s", "window", "confirm_s", "connect_s", "rpc_s", "probe_s", "silence_s"):
            if getattr(self, name) <= 0:
                raise TransportConfigError(f"amqp option {name}={getattr(self, name)!r}: expected more than 0")


@dataclass(frozen=True, slots=True)
class AmqpAddress:
    """A checked broker URL.

    Attributes:
        url: what the driver dials, password included.
        shown: the same for people, password masked.
    """

    url: str = field(repr=False)
    shown: str


def parse_amqp_url(url: str, options: AmqpOptions) -> tuple[AmqpAddress, AmqpOptions]:
    """Return the address to dial and the options with those of the URL's query laid over.

    `queue_type` and `heartbeat` are ours; `cafile`, `certfile`, `keyfile`, `capath`, `no_verify_ssl` are the driver's.

    Raises:
        TransportConfigError: not an AMQP URL; says what was found, secrets masked.
    """
    shown = mask_secrets(url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise TransportConfigError(f"amqp url {shown!r}: {error}; percent-encode special characters") from None
    if parts.scheme not in ("amqp", "amqps") or not host:
        raise TransportConfigError(
            f"amqp url {shown!r}: expected amqp://USER:PASSWORD@HOST:PORT/VHOST or amqps://…, percent-encoded"
        )
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "queue_type" in query:
        options = replace(options, queue_type=query.pop("queue_type"))
    query.setdefault("heartbeat", str(options.heartbeat_s))
    dialled = urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))
    plain = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    return AmqpAddress(dialled, mask_secrets(plain)), options

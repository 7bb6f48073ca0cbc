"""HTTP push: one POST a message to functions that are called rather than running (protocol section 5.2)."""

from resonate_mq.transports.push.allowed import AllowedHosts
from resonate_mq.transports.push.publisher import HttpPush

__all__ = ["AllowedHosts", "HttpPush"]

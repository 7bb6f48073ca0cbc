"""Publisher: sends what commits made ready, and keeps at it until it is confirmed or no longer wanted (D17, D23)."""

from resonate_mq.server.publisher.publisher import Publisher

__all__ = ["Publisher"]

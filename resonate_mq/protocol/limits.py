"""Numbers both sides of the wire agree on. Each carries its unit and its reason."""

PROTOCOL_VERSION = "2026-04-01"

MAX_ID_BYTES = 1024  # UTF-8 bytes; D12
MAX_GENERATED_ID_BYTES = 512  # longer generated ids are hashed; D12
MAX_SAFE_INTEGER = 2**53 - 1  # what a JSON number carries exactly in every official client
MAX_BODY_BYTES = 8 * 1024 * 1024  # default of the HTTP API
MAX_BATCH_REQUESTS = 1000  # inner requests of one batch; D9
MAX_SEARCH_LIMIT = 1000
DEFAULT_SEARCH_LIMIT = 100
DEFAULT_SCHEDULE_SEARCH_LIMIT = 10
PRELOAD_MAX_RECORDS = 10_000  # a truncated children preload is a cache miss, never an error; D10
PRELOAD_MAX_BYTES = 4 * 1024 * 1024

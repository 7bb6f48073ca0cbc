"""API channels: how requests reach a server, and the requester that batches, retries and falls back."""

"""The official SDKs, unmodified, against our server."""

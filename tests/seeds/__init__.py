"""The documents' Python blocks, run as printed."""

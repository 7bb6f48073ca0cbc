"""The server: kernel, publisher, timers, HTTP."""

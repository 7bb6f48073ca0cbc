"""The server: kernel with group commit, timers, publisher, HTTP. `Server` embeds it in any program."""

from resonate_mq.server.grace import local_pid_prefix
from resonate_mq.server.options import ServerConfigError, ServerOptions
from resonate_mq.server.server import Server

__all__ = ["Server", "ServerConfigError", "ServerOptions", "local_pid_prefix"]

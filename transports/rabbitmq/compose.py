"""A RabbitMQ node run by `docker compose` from the repository's own docker-compose.yml.

Owns one compose project per node, so that a project or broker the user runs is never touched. Knows Docker
only by its command line.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from transports.rabbitmq.node import (
    ROOT,
    BrokerUnavailableError,
    RabbitNode,
    free_port,
    safe_name,
    wait_until_accepting,
)


class ComposeNode(RabbitNode):
    """The service `rabbitmq` of docker-compose.yml in a project of its own on ports of its own."""

    def __init__(self, name: str) -> None:
        self.name = safe_name(name)
        self.project = f"resonate-mq-{self.name}"
        self.port = self._published_port() or free_port()
        self._management_port = free_port()

    def start(self) -> None:
        self._compose("up", "--detach", "--quiet-pull", "rabbitmq", within_s=600)
        wait_until_accepting(self, f"docker compose -p {self.project} logs rabbitmq")

    def halt(self) -> None:
        self._compose("stop", "rabbitmq")

    def stop(self, *, keep_data: bool = False) -> None:
        self._compose("down", "--timeout", "5", *(() if keep_data else ("--volumes",)))

    def kill(self) -> None:
        self._compose("kill", "--signal", "SIGKILL", "rabbitmq")

    def pause(self) -> None:
        self._compose("pause", "rabbitmq")

    def resume(self) -> None:
        self._compose("unpause", "rabbitmq")

    def running(self) -> bool:
        return bool(self._compose("ps", "--quiet", "--status", "running", "--status", "paused", "rabbitmq").strip())

    def ctl(self, *arguments: str) -> str:
        return self._compose("exec", "-T", "rabbitmq", "rabbitmqctl", "--quiet", *arguments)

    def _published_port(self) -> int | None:
        """The port of a node that an earlier command left running."""
        try:
            answer = self._compose("port", "rabbitmq", "5672")
        except BrokerUnavailableError:
            return None
        port = answer.strip().rpartition(":")[2]
        return int(port) if port.isdigit() and port != "0" else None

    def _compose(self, *arguments: str, within_s: float = 120) -> str:
        ports = {
            "RESONATE_MQ_RABBITMQ_PORT": str(getattr(self, "port", 0)),
            "RESONATE_MQ_RABBITMQ_UI_PORT": str(getattr(self, "_management_port", 0)),
        }
        command = ["docker", "compose", "-p", self.project, "--profile", "rabbitmq", *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, **ports},
                capture_output=True,
                text=True,
                timeout=within_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BrokerUnavailableError(f"{' '.join(command)}: {error}") from error
        if done.returncode != 0:
            raise BrokerUnavailableError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout


def engine_answers() -> bool:
    """Whether a Docker engine with compose can be used from here."""
    if shutil.which("docker") is None:
        return False
    for question in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(question, capture_output=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        if done.returncode != 0:
            return False
    return True

"""A RabbitMQ node run from the Debian packages, as a node of our own.

Owns its folder (data, log, cookie, state) and its two processes: the broker and an `epmd` of its own. A
RabbitMQ the machine already runs is never touched: name, ports, epmd, cookie and folders all differ, and
signals go by pid.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from transports.rabbitmq.node import (
    BrokerUnavailableError,
    RabbitNode,
    free_port,
    safe_name,
    wait_until_accepting,
)

SCRIPTS = Path("/usr/lib/rabbitmq/bin")
"""The scripts themselves; the wrappers in /usr/sbin insist on the user `rabbitmq`."""

HALT_TIMEOUT_S = 30.0

TEST_SETTINGS = """
# Ours never holds a delivery for long; a short timeout shows at once if that ceases to be true.
consumer_timeout = 10000
# A laptop's almost full disk must not block publishers.
disk_free_limit.absolute = 50MB
log.console = false
log.file.level = info
"""


class NativeNode(RabbitNode):
    """RabbitMQ from /usr/lib/rabbitmq with everything it writes below ``folder``."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = safe_name(name)
        self.folder = folder
        self.log_path = folder / "log" / "rabbit.log"
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._state: dict[str, Any] = self._load() or {
            "port": free_port(),
            "dist_port": free_port(),
            "epmd_port": free_port(),
            "ctl_port": free_port(),
        }
        self.port = self._state["port"]

    def start(self) -> None:
        if self.running():
            return
        if not installed():
            raise BrokerUnavailableError(INSTALL_HINT)
        for part in ("data", "log", "generated"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        self._write_settings()
        if not self._alive("epmd"):
            epmd = shutil.which("epmd") or "/usr/bin/epmd"
            self._launch("epmd", [epmd, "-port", str(self._state["epmd_port"])])
        self._launch("broker", [str(SCRIPTS / "rabbitmq-server")])
        wait_until_accepting(self, str(self.log_path))

    def halt(self) -> None:
        if not self.running():
            return
        self.resume()
        self._signal("broker", signal.SIGTERM)
        if not self._wait_gone("broker", HALT_TIMEOUT_S):
            self.kill()

    def stop(self, *, keep_data: bool = False) -> None:
        if keep_data:
            self.halt()
        elif self.running():
            self.kill()
        self._signal("epmd", signal.SIGTERM)
        if not self._wait_gone("epmd", 5.0):
            self._signal("epmd", signal.SIGKILL)
            self._wait_gone("epmd", 5.0)
        if not keep_data:
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        self._signal("broker", signal.SIGKILL)
        self._wait_gone("broker", 10.0)

    def pause(self) -> None:
        self._signal("broker", signal.SIGSTOP)

    def resume(self) -> None:
        self._signal("broker", signal.SIGCONT)

    def running(self) -> bool:
        return self._alive("broker")

    def ctl(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(SCRIPTS / "rabbitmqctl"), "--quiet", *arguments],
            env=self._environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        folder, state = self.folder, self._state
        own = {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"resonate-{self.name}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(state["dist_port"]),
            "RABBITMQ_CTL_DIST_PORT_MIN": str(state["ctl_port"]),
            "RABBITMQ_CTL_DIST_PORT_MAX": str(state["ctl_port"] + 20),
            "ERL_EPMD_PORT": str(state["epmd_port"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": str(self.log_path),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_PID_FILE": str(folder / "broker.pid"),
            # makes the script exec the VM, so that the pid we hold is the broker's own
            "RUNNING_UNDER_SYSTEMD": "1",
            # idle schedulers must not spin on a machine that also runs the tests
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
        inherited.pop("NOTIFY_SOCKET", None)
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **inherited, **own}

    def _write_settings(self) -> None:
        operators = (Path(__file__).parent / "rabbitmq.conf").read_text()
        (self.folder / "rabbitmq.conf").write_text(operators + TEST_SETTINGS)
        (self.folder / "enabled_plugins").write_text("[].\n")
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(16))
            cookie.chmod(0o400)

    # --- processes: known by pid and by the instant that pid was born, so that a recycled pid is never
    # signalled

    def _launch(self, role: str, argv: list[str]) -> None:
        with (self.folder / "log" / f"{role}.out").open("ab") as output:
            child = subprocess.Popen(
                argv, env=self._environment(), cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._children[child.pid] = child
        self._state[role] = child.pid
        self._state[f"{role}_born"] = _born(child.pid)
        self._state["owner"] = os.getpid()
        self._state["owner_born"] = _born(os.getpid())
        (self.folder / "state.json").write_text(json.dumps(self._state))

    def _load(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        except FileNotFoundError:
            return None
        return state

    def _alive(self, role: str) -> bool:
        pid = self._state.get(role, 0)
        child = self._children.get(pid)
        if child is not None:
            return child.poll() is None
        return bool(pid) and _born(pid) == self._state.get(f"{role}_born")

    def _signal(self, role: str, number: signal.Signals) -> None:
        if self._alive(role):
            os.kill(self._state[role], number)

    def _wait_gone(self, role: str, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while self._alive(role):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


INSTALL_HINT = (
    "RabbitMQ cannot be started: no Docker engine answers (`docker info`) and its Debian package is missing. "
    "Start Docker, or on Debian, as root: apt-get install --no-install-recommends rabbitmq-server"
)


def installed() -> bool:
    """Whether the Debian package is on this machine."""
    return (SCRIPTS / "rabbitmq-server").exists()


def install() -> None:
    """Install the Debian package when that is possible, without letting it start a broker of its own.

    Raises BrokerUnavailableError naming what to install when this is not root or not Debian.
    """
    if installed():
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise BrokerUnavailableError(INSTALL_HINT)
    print("brokers: installing the Debian package rabbitmq-server", flush=True)
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")  # Debian's way to say: install, but start no service
        policy.chmod(0o755)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=300", "-qq"]
    try:
        subprocess.run(["apt-get", *wait, "update"], env=quiet, stdout=subprocess.DEVNULL, check=False)
        done = subprocess.run(
            ["apt-get", *wait, "install", "-y", "--no-install-recommends", "rabbitmq-server"],
            env=quiet, stdout=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    finally:
        if ours:
            policy.unlink(missing_ok=True)
    if done.returncode != 0 or not installed():
        raise BrokerUnavailableError(f"apt-get could not install rabbitmq-server (exit {done.returncode})")


def reap_abandoned(parent: Path) -> None:
    """End the nodes below ``parent`` whose starter died without stopping them, never one still owned."""
    for state_file in parent.glob("*/state.json"):
        try:
            state = json.loads(state_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            continue  # somebody is stopping or starting it this moment
        kept = (state_file.parent / "keep").exists()
        if not kept and _born(state.get("owner", 0)) != state.get("owner_born"):
            print(f"brokers: ending {state_file.parent.name}, left behind by an earlier run", flush=True)
            NativeNode(state_file.parent.name, state_file.parent).stop()


def _born(pid: int) -> int | None:
    """The kernel's start tick of a process, or None when it is gone (a zombie counts as gone)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])

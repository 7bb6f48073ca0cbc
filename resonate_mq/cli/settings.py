"""How `serve` and `dev` are configured: defaults, then a TOML file, then environment, then flags (later wins).

Environment variables are `RESONATE_MQ_<SECTION>__<FIELD>`, for example `RESONATE_MQ_SERVER__LISTEN`. Knows names and
their checks; opens nothing. Imported when a server is started, not for `--help`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from resonate_mq.cli.output import CliError
from resonate_mq.protocol.parse import EXTENSIONS

PREFIX = "RESONATE_MQ_"
SECRET = "***"

_TRANSPORT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ServerSection(_Section):
    """`[server]`: where it listens and who may ask."""

    listen: str = Field(default="127.0.0.1:8001", description="HOST:PORT of the HTTP API; port 0 takes a free one")
    url: str | None = Field(default=None, description="how others reach this server, when that differs from `listen`")
    name: str = Field(default="default", description="name of this server towards brokers")
    token: str | None = Field(default=None, description="bearer token every request must carry")
    debug: bool = Field(default=False, description="serve debug.* operations; for tests only")
    disabled_extensions: list[str] = Field(default_factory=list, description="protocol extensions to switch off")
    push_hosts: list[str] = Field(default_factory=list, description="hosts HTTP push may go to; none: no HTTP push")
    max_body_bytes: int = Field(default=8 * 1024 * 1024, gt=0, description="largest request body")
    shutdown_s: float = Field(default=10.0, ge=0, description="seconds a graceful stop waits for requests in progress")

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        host_and_port(value)
        return value

    @field_validator("disabled_extensions")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        unknown = set(value) - EXTENSIONS
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(EXTENSIONS))}")
        return value


class StoreSection(_Section):
    """`[store]`: where promises are kept."""

    url: str = Field(default="sqlite:///resonate.db", description="memory://, sqlite:///file, sqlite:////absolute/file")


class LogSection(_Section):
    """`[log]`: what is written on stderr."""

    level: str = Field(default="info", description="debug, info, warning or error")

    @field_validator("level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value.lower() not in ("debug", "info", "warning", "error"):
            raise ValueError(f"{value!r} is none of debug, info, warning, error")
        return value.lower()


class ServeConfig(BaseSettings):
    """All of it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", nested_model_default_partial_update=True
    )
    file: ClassVar[Path | None] = None

    server: ServerSection = Field(default_factory=ServerSection)
    store: StoreSection = Field(default_factory=StoreSection)
    transports: dict[str, str] = Field(default_factory=dict)
    log: LogSection = Field(default_factory=LogSection)

    @field_validator("transports")
    @classmethod
    def _transports(cls, value: dict[str, str]) -> dict[str, str]:
        for name, url in value.items():
            if not _TRANSPORT_NAME.match(name):
                raise ValueError(f"{name!r}: a name starts with a letter and holds letters, digits, '+', '.', '-'")
            if "://" not in url:
                raise ValueError(f"{name}: expected a URL such as amqp://guest:guest@localhost/, found {url!r}")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """First wins: flags, environment, file."""
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        return sources if cls.file is None else (*sources, TomlConfigSettingsSource(settings_cls, cls.file))

    def shown(self) -> dict[str, Any]:
        """Return the effective configuration with its secrets masked."""
        plain = self.model_dump()
        if plain["server"]["token"] is not None:
            plain["server"]["token"] = SECRET
        plain["transports"] = {name: masked(url) for name, url in plain["transports"].items()}
        plain["store"]["url"] = masked(plain["store"]["url"])
        return plain


def load(path: Path | None, flags: Mapping[str, Mapping[str, Any]]) -> ServeConfig:
    """Return the configuration of one start.

    Args:
        path: TOML file, None for none.
        flags: section to field to value, only what was given.

    Raises:
        CliError: names the field, what was found and what was expected.
    """
    if path is not None and not path.is_file():
        raise CliError(f"--config {path}: no such file", 2)
    # a class of its own: pydantic-settings takes the file from the class, and two starts may differ
    configured = type("ServeConfig", (ServeConfig,), {"file": path, "__annotations__": {"file": ClassVar[Path | None]}})
    try:
        config: ServeConfig = configured(**{name: dict(fields) for name, fields in flags.items() if fields})
    except ValidationError as error:
        raise CliError("\n  ".join(["configuration:", *_sentences(error)]), 2) from error
    except ValueError as error:  # TOML syntax, or an environment variable that is no JSON
        raise CliError(f"configuration: {error}", 2) from error
    return config


def host_and_port(listen: str) -> tuple[str, int]:
    """Split `HOST:PORT`; IPv6 hosts in brackets.

    Raises:
        ValueError: it is something else.
    """
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535 or not host:
        raise ValueError(f"expected HOST:PORT such as 127.0.0.1:8001, found {listen!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def masked(url: str) -> str:
    """Return a URL without its password."""
    return re.sub(r"(://[^:/?#@]*):[^@/]*@", rf"\1:{SECRET}@", url)


def _sentences(error: ValidationError) -> list[str]:
    return [f"{'.'.join(str(part) for part in one['loc'])}: {_sentence(one)}" for one in error.errors()]


def _sentence(one: Any) -> str:
    if one["type"] == "extra_forbidden":
        return "is not known here"
    text = str(one["msg"]).removeprefix("Value error, ")
    return text if one["type"] == "value_error" else f"{text}, found {one['input']!r}"

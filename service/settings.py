"""The only reader of the environment: every setting with its default, its unit and one sentence."""

import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

PREFIX = "LOUPE_"


class WrongSetting(ValueError):
    """A setting has a value that can't be used."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


class Settings(BaseSettings):
    """Where everything lives and how the line server behaves; from `LOUPE_*`, then `loupe.toml`, then the defaults."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, toml_file="loupe.toml", frozen=True, extra="forbid", env_ignore_empty=True
    )

    data_dir: Path = Field(
        Path("data"), description="Folder where everything lives: database, images, journal, models."
    )
    database_url: str = Field("", description="SQLite or PostgreSQL address; empty: SQLite in the data folder.")
    image_store_url: str = Field("", description="Address of the image store; empty: a folder in the data folder.")
    host: str = Field("127.0.0.1", description="Address that the line server listens on.")
    port: int = Field(8080, ge=1, le=65535, description="Port of the line server.")
    line_name: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_-]{0,40}$",
        description="Name of this line server where several share one data folder: each has its own journal there.",
    )
    line_url: str = Field(
        "",
        pattern=r"^(https?://[^/?#\s]+)?/?$",
        description="Address under which other line servers reach this one; empty: http://HOST:PORT.",
    )
    console_host: str = Field(
        "127.0.0.1", description="Address that the console listens on; this machine only, as it has no sign-in yet."
    )
    console_port: int = Field(8090, ge=1, le=65535, description="Port of the console.")
    provider: str = Field(
        "CPUExecutionProvider", description="ONNX Runtime execution provider; there is no silent fall back to another."
    )
    threads: int = Field(0, ge=0, le=256, description="Threads that inspect, one part each; 0: one a core, at least 2.")
    queue_limit: int = Field(
        64, ge=1, description="Parts of one station that may wait or be in work; above it the answer is 902."
    )
    model_memory_mb: float = Field(
        4096.0, gt=0, description="Memory (MB) of loaded models; at the limit the least recently used one leaves it."
    )
    deadline_ms: float | None = Field(
        None, gt=0, description="Deadline (ms) where neither the request nor the recipe names one; empty: none."
    )
    idempotency_window_h: float = Field(
        24.0, gt=0, description="Hours (h) for which a trigger that comes again gets the stored answer."
    )
    journal_reserve_mb: float = Field(
        256.0, gt=0, description="Disk space (MB) kept for the journal, so that records go on when the disk is full."
    )
    mqtt_url: str = Field(
        "", description="Broker that verdicts are published to, such as mqtt://HOST:1883; empty: none."
    )
    webhook_url: str = Field(
        "",
        description="Addresses, separated by commas, that optics alarms are posted to as JSON; empty: none.",
    )
    max_image_mb: float = Field(64.0, gt=0, description="Largest body (MB) that the line server takes; above it 413.")
    max_megapixels: float = Field(64.0, gt=0, description="Largest image (megapixels) that is decoded.")
    commission_images: int = Field(
        2000,
        ge=100,
        description="Images per camera from which the normal light is learned before alarms are calibrated.",
    )
    commission_parts: int = Field(
        1000,
        ge=100,
        description="Parts per product and station from which a model's usual scores are learned.",
    )
    watch_poll_s: float = Field(1.0, gt=0, description="Seconds (s) between looks for a new champion or recipe.")
    log_json: bool = Field(False, description="Log lines as JSON instead of text.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then loupe.toml."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def database_address(self) -> str:
        """The database's address with its default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'loupe.db'}"

    @property
    def line_folder(self) -> Path:
        """Where this line server keeps its journal and what it has learned."""
        return self.data_dir.absolute() / (f"line-{self.line_name}" if self.line_name else "line")

    @property
    def line_address(self) -> str:
        """The address for other line servers with its default filled in."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.line_url.rstrip("/") or f"http://{host}:{self.port}"

    @property
    def image_store_address(self) -> str:
        """The image store's address with its default filled in."""
        return self.image_store_url or f"file://{self.data_dir.absolute() / 'images'}"


def load_settings(**overrides: Any) -> Settings:
    """The settings that hold now; overrides win over the environment.

    Raises WrongSetting with the setting's name, its value and what to do.
    """
    if strays := sorted(n for n in os.environ if n.startswith(PREFIX) and not _is_known(n)):
        raise WrongSetting(f"{strays[0]} is no setting of Loupe", f"correct its name, or unset it; {known()}")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        if first["type"] == "extra_forbidden":
            unknown = first["loc"][0]
            raise WrongSetting(f"loupe.toml names a setting that does not exist: {unknown}", known()) from error
        raise WrongSetting(
            f"{name}={first['input']!r} can't be used: {first['msg'].lower()}",
            f"{Settings.model_fields[str(first['loc'][0])].description} Set {name} accordingly.",
        ) from error
    except ValueError as error:  # a loupe.toml that is no TOML
        raise WrongSetting(f"loupe.toml can't be read: {error}", "correct the line, or move the file away") from error


def notify_socket() -> str:
    """Where systemd wants to hear how the process is; empty: nobody does."""
    return os.environ.get("NOTIFY_SOCKET", "")


def _is_known(variable: str) -> bool:
    # LOUPE_TEST_… belongs to the tests, which run commands under their own environment.
    return variable.startswith(f"{PREFIX}TEST_") or variable.removeprefix(PREFIX).lower() in Settings.model_fields


def known() -> str:
    """The names of all settings, for messages."""
    return "known settings: " + ", ".join(sorted(Settings.model_fields))


def reference() -> str:
    """The reference page of all settings, as Markdown."""
    lines = [
        "# Settings",
        "",
        "From the environment (`LOUPE_*`), else from `loupe.toml` in the working folder (lower-case names).",
        "A wrong value stops the start with the setting's name, the value and the remedy.",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "empty" if field.default in ("", None) else f"`{field.default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment for a child process that shall run under these very settings."""
    own = {f"{PREFIX}{name.upper()}": value for name, value in settings.model_dump().items()}
    return {**os.environ, **{name: "" if value is None else str(value) for name, value in own.items()}}

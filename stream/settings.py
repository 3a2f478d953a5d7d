"""Settings: frozen, read once at start from a TOML file and the environment, printable with secrets hidden.

`SHANGXIN_CONFIG` names the file (default `shangxin.toml` where it exists). The environment wins:
`SHANGXIN_KAFKA__BOOTSTRAP_SERVERS`, two underscores between section and field. The four names that
other tools share are understood as well: KAFKA_BOOTSTRAP_SERVERS, KAFKA_HOME, TRITON_URL and
SHANGXIN_DATA. Nothing else in the project reads the environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

DEFAULT_FILE = "shangxin.toml"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Section):
    """How to reach the broker, and the times that the correctness rules rest on."""

    bootstrap_servers: str = ""
    """`host:port,...`; empty: the embedded stack's broker."""
    home: Path | None = None
    """An unpacked Apache Kafka distribution that the embedded stack may use."""
    topic_prefix: str = ""
    group_prefix: str = "shangxin"
    instance_id: str = ""
    """Static membership, unique per process; empty: made from group, host and `worker_index`."""
    worker_index: int = 0
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str = ""
    sasl_password: SecretStr = SecretStr("")
    ssl_cafile: Path | None = None
    session_timeout_s: float = Field(default=10.0, gt=0)
    """A worker silent this long is replaced."""
    heartbeat_interval_s: float = Field(default=1.0, gt=0)
    delivery_timeout_s: float = Field(default=5.0, gt=0)
    """A produce is given up after this. Must leave room below the session timeout (rule 4: no produce
    unless the last heartbeat is younger than session timeout minus delivery timeout)."""
    drain_timeout_s: float = Field(default=4.0, gt=0)
    """The one deadline on revoke and on SIGTERM."""
    source_epoch: int = Field(default=0, ge=0)
    """Raise it when a source topic was recreated or rolled back; revisions and stamps start with it."""


class TopicSettings(_Section):
    """What `shangxin topics create` makes."""

    product_partitions: int = Field(default=4, ge=1)
    user_partitions: int = Field(default=4, ge=1)
    replication_factor: int = Field(default=1, ge=1)
    min_insync_replicas: int = Field(default=1, ge=1)
    retention_hours: float = Field(default=168, gt=0)
    max_message_bytes: int = Field(default=1_048_576, ge=1024)
    segment_bytes: int = Field(default=67_108_864, ge=1024)


class TritonSettings(_Section):
    """The model server, and how hard it may be pressed."""

    url: str = ""
    """gRPC `host:port`; empty: the embedded stack's server."""
    model_version: str = ""
    """Pinned version of `listing`; empty: the newest that the server says is ready, pinned at start."""
    request_timeout_s: float = Field(default=20.0, gt=0)
    listing_budget_s: float = Field(default=60.0, gt=0)
    """A listing not answered within it goes out degraded."""
    max_batch: int = Field(default=32, ge=1)
    max_batch_wait_ms: float = Field(default=10.0, ge=0)
    batches_in_flight: int = Field(default=4, ge=1)
    max_pending: int = Field(default=512, ge=1)
    max_pending_bytes: int = Field(default=16_777_216, ge=1)


class EnrichmentSettings(_Section):
    """The enrichment worker."""

    max_in_flight: int = Field(default=256, ge=1)
    """Events between decode and publish; bounds memory and what a crash repeats."""
    retry_delay_s: float = Field(default=30.0, ge=0)
    """The same before each try, so that the requests of a partition stand in the order in which they fall due."""
    max_tries: int = Field(default=5, ge=1)
    review_below: float = Field(default=0.5, ge=0, le=1)
    """A safety score under it: a person must look (`in_review`)."""
    reject_below: float = Field(default=0.05, ge=0, le=1)
    """A safety score under it: hidden without asking (`rejected`). Rarely reached: a wrong rejection is
    seen by nobody, a wrong review costs a minute."""


class ProfileSettings(_Section):
    """The profiles worker. Half-lives in days."""

    half_life_days: float = Field(default=14.0, gt=0)
    session_gap_s: float = Field(default=1800.0, gt=0)
    last_items: int = Field(default=20, ge=1, le=200)
    top_affinities: int = Field(default=20, ge=1, le=200)
    seen_ids: int = Field(default=64, ge=0)
    """Event ids remembered per user: an upstream retry comes within a few events."""
    max_batch: int = Field(default=4000, ge=1)
    """Records a poll. A user is published once a batch, which is most of the work: 4,000 instead of 1,000 raised
    the rate by half under backlog. A batch is some 0.4 s then, a tenth of the drain deadline."""


class FeatureSettings(_Section):
    """The features worker."""

    allowed_lateness_s: float = Field(default=60.0, ge=0)
    """How far the watermark stays behind the newest event time seen."""
    max_batch: int = Field(default=1000, ge=1)


class WorkerSettings(_Section):
    """What every worker has: the HTTP port of metrics and health, and the watch over progress."""

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535)
    """0: a free port, written to the log and to `port_file`."""
    port_file: Path | None = None
    state_dir: Path | None = None
    """Where tables live on disk (RocksDB), one folder a process; unset: in memory, rebuilt from the changelog."""
    stuck_after_s: float = Field(default=120.0, gt=0)
    """Lag and no progress for this long: exit non-zero."""
    fault: str = ""
    """`POINT:N`: kill this process with SIGKILL the N-th time it passes a named point. For tests."""
    log_level: str = "info"


class StackSettings(_Section):
    """The embedded stack."""

    run_dir: Path = Path("run")
    broker: str = "auto"
    """auto, external, home, maven, docker or embedded."""
    models_dir: Path = Path("build/models")
    cache_dir: Path = Path("build/kafka")
    """Where the broker's jars are kept once fetched; several checkouts may share it."""
    triton_venv: Path = Path(".venv-triton")
    """The model server's Python environment; several checkouts may share it."""
    broker_port: int = Field(default=0, ge=0, le=65535)
    """0 here and below: a free port."""
    triton_grpc_port: int = Field(default=0, ge=0, le=65535)
    triton_http_port: int = Field(default=0, ge=0, le=65535)
    triton_metrics_port: int = Field(default=0, ge=0, le=65535)
    start_timeout_s: float = Field(default=120.0, gt=0)


class Settings(BaseSettings):
    """Everything. `shangxin config show` prints it."""

    model_config = SettingsConfigDict(
        env_prefix="SHANGXIN_",
        env_nested_delimiter="__",
        frozen=True,
        extra="ignore",
        nested_model_default_partial_update=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    triton: TritonSettings = TritonSettings()
    enrichment: EnrichmentSettings = EnrichmentSettings()
    profiles: ProfileSettings = ProfileSettings()
    features: FeatureSettings = FeatureSettings()
    worker: WorkerSettings = WorkerSettings()
    stack: StackSettings = StackSettings()
    data: Path | None = None
    """The folder of public data sets (SHANGXIN_DATA)."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the names shared with other tools, then the file."""
        file = Path(os.environ.get("SHANGXIN_CONFIG", DEFAULT_FILE))
        toml = TomlConfigSettingsSource(settings_cls, toml_file=file if file.exists() else None)
        return init_settings, env_settings, _SharedNames(settings_cls), toml


class _SharedNames(PydanticBaseSettingsSource):
    """Environment names that other tools use for the same things."""

    names = (
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka", "bootstrap_servers"),
        ("KAFKA_HOME", "kafka", "home"),
        ("TRITON_URL", "triton", "url"),
    )

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        """Not used: this source answers as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, section, field in self.names:
            if value := os.environ.get(name):
                found.setdefault(section, {})[field] = value
        return found


def load_settings(**overrides: Any) -> Settings:
    """Read everything once. Raises pydantic.ValidationError that names each wrong field."""
    return Settings(**overrides)

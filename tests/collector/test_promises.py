"""What every configuration says of itself, read from the files: needs no Collector, and holds for the next one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.collector.processes import CONFIGURATIONS

Settings = dict[str, Any]
FILES = sorted(path for path in CONFIGURATIONS.glob("*.yaml") if path.name != "builder.yaml")


def load(path: Path) -> Settings:
    loaded: Settings = yaml.safe_load(path.read_text())
    return loaded


def of_kind(path: Path, section: str, *kinds: str) -> Iterator[Settings]:
    """Settings of the components in *section* whose type is one of *kinds*."""
    for name, settings in load(path).get(section, {}).items():
        if name.partition("/")[0] in kinds:
            yield settings


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def path(request: pytest.FixtureRequest) -> Path:
    given: Path = request.param
    return given


def test_no_processor_alters_or_drops(path: Path) -> None:
    assert set(load(path).get("processors", {})) <= {"memory_limiter"}


def test_what_is_sent_on_waits_on_disk_in_order_and_for_ever(path: Path) -> None:
    for exporter in of_kind(path, "exporters", "otlp_grpc", "otlp_http"):
        queue = exporter["sending_queue"]
        assert (queue["enabled"], queue["block_on_overflow"], queue["num_consumers"]) == (True, True, 1)
        assert queue["storage"] in load(path)["service"]["extensions"]
        assert "batch" not in queue
        assert (exporter["retry_on_failure"]["enabled"], exporter["retry_on_failure"]["max_elapsed_time"]) == (
            True,
            0,
        )


def test_a_queue_is_synced(path: Path) -> None:
    for storage in of_kind(path, "extensions", "file_storage"):
        assert storage["fsync"] is True
        assert not storage.get("recreate")


def test_files_are_written_at_once_and_never_deleted(path: Path) -> None:
    for exporter in of_kind(path, "exporters", "file"):
        assert (exporter["rotation"]["max_days"], exporter["rotation"]["max_backups"]) == (0, 0)
        assert "compression" not in exporter
        assert exporter["directory_permissions"] == "0700"


def test_what_is_not_on_loopback_has_tls_and_asks_who_is_there(path: Path) -> None:
    for receiver in of_kind(path, "receivers", "otlp"):
        for protocol in receiver["protocols"].values():
            if ":-127.0.0.1:" not in protocol["endpoint"]:
                assert {"cert_file", "key_file"} <= set(protocol["tls"])
                assert "client_ca_file" in protocol["tls"] or "authenticator" in protocol["auth"]


def test_a_hop_between_collectors_shows_a_certificate_and_no_token(path: Path) -> None:
    """A Collector drops what is refused with 401; a refused certificate is tried again."""
    for exporter in of_kind(path, "exporters", "otlp_grpc"):
        assert {"ca_file", "cert_file", "key_file"} <= set(exporter["tls"])
        assert "auth" not in exporter


def test_the_versions_of_the_manifest_belong_together() -> None:
    manifest = load(CONFIGURATIONS / "builder.yaml")
    modules = [
        entry["gomod"]
        for section in ("receivers", "processors", "exporters", "extensions")
        for entry in manifest[section]
    ]

    assert {module.split()[1] for module in modules} == {f"v{manifest['dist']['version']}"}

"""`kill -9` of application, agent and gateway at random, under load; then they restart, and nothing is lost."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from http.client import HTTPException

import pytest

from tests.collector.processes import Collector, World, grpc_environ, http_environ
from tests.collector.shops import Shop, bodies, deliver_all, log_records, paths, spooled

KILLING_S = float(os.environ.get("KILL_TEST_SECONDS", "60"))


class Load:
    """Somebody who sends one request after the other, and remembers which were answered with success."""

    def __init__(self, shop: Shop) -> None:
        self.answered: list[int] = []
        self._shop = shop
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                self._shop.get(number)
            except (OSError, HTTPException):
                continue  # killed meanwhile
            self.answered.append(number)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_killing_everything_at_random_loses_nothing(protocol: str, world: World) -> None:
    """By gRPC a third as long: the two Collectors speak it to each other in either case."""
    is_http = protocol == "http/protobuf"
    killing_s = KILLING_S if is_http else KILLING_S / 3
    seed = time.time_ns()
    print(f"seed {seed}, {killing_s:g} s, {protocol}")  # shown when it fails
    dice = random.Random(seed)
    gateway = world.collector("gateway", AUDIT_ROTATE_MB="20")
    agent = world.collector("agent", AUDIT_GATEWAY=gateway.grpc)
    address = http_environ(agent.http) if is_http else grpc_environ(agent.grpc)
    shop = Shop(world, **address)
    load = Load(shop)
    victims: dict[str, Shop | Collector] = {"shop": shop, "agent": agent, "gateway": gateway}
    killed = dict.fromkeys(victims, 0)

    try:
        end = time.monotonic() + killing_s
        while time.monotonic() < end:
            time.sleep(dice.uniform(0.5, 4))  # under load, not waiting for anything
            name = dice.choice(list(victims))
            victim = victims[name]
            victim.kill()
            killed[name] += 1
            time.sleep(dice.uniform(0, 2))
            victim.start()
    finally:
        load.stop()
        shop.stop()
        deliver_all(world, world.archive("gateway"), **address)
        shop.close()
        agent.stop()
        gateway.stop()

    archive = world.archive("gateway")
    print(f"killed {killed}; {len(load.answered)} requests answered")
    print(f"{len(list(log_records(archive)))} log records, {len(bodies(archive))} different ones")
    assert spooled(world.spool) <= bodies(archive)
    assert {f"/customers/{number}" for number in load.answered} <= paths(archive)
    ran = world.audit("verify", str(archive), "--json")
    verdict = json.loads(ran.stdout)
    assert (ran.returncode, verdict["verdict"]) == (0, "verified"), verdict["findings"]

# SPDX-License-Identifier: MIT
"""Back-pressure: a slow reader holds the sender up instead of filling the proxy's memory."""

import pathlib
import threading
import time

import pytest

from support import http1, process, wait
from support.gateway import Gateway
from support.upstream import Upstream

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = {
    { name = "lua", match = { path = "/lua" }, policies = { "copies" }, upstream = "origin" },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""

COPIES = """
local Copies = require("perigee").policy { name = "copies", stage = "observe", schema = {} }
function Copies:on_response_body(req, res, chunk) return chunk end
function Copies:on_request_body(req, chunk) return chunk end
return Copies
"""

MIB = 1024 * 1024
GIB = 1024 * MIB
SECONDS = 3
GROWTH = (64 if wait.SANITIZED else 4) * MIB  # a sanitizer keeps freed memory for a while


def largest_buffer(kind):
    return int(pathlib.Path(f"/proc/sys/net/ipv4/tcp_{kind}").read_text().split()[2])


# What the kernel may hold in the proxy's socket buffers (a receive buffer holds up to twice its size in payload).
BETWEEN = 4 * (largest_buffer("rmem") + largest_buffer("wmem"))


@pytest.fixture(scope="module")
def origin():
    with Upstream(buffers=64 * 1024) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(origin):
    with Gateway(CONFIG, files={"policies/copies/init.lua": COPIES}, values={"origin": origin.address}) as started:
        yield started


class Meter:
    """Counts what an endless sender got rid of."""

    def __init__(self):
        self.sent = 0
        self.ended = threading.Event()

    def push(self, wire, chunked=False):
        block = b"x" * MIB
        wire.sock.settimeout(None)
        try:
            while self.sent < GIB:
                self.sent += wire.sock.send(http1.chunk(block) if chunked else block)
        except OSError:
            pass
        finally:
            self.ended.set()


def read_slowly(wire, seconds):
    """Takes 1 MiB a second; returns how much it took."""
    taken, began = 0, time.monotonic()
    while time.monotonic() < began + seconds:
        taken += len(wire.sock.recv(65536))
        time.sleep(max(0, began + taken / MIB - time.monotonic()))  # the pace of the reader
    return taken


def warm_up(gateway, origin, path):
    """A whole transfer first: what the process keeps for later is not what the slow reader costs."""
    origin.answer = lambda wire, _: wire.respond(200, [], b"w" * 8 * MIB)
    for _ in range(3):
        assert len(gateway.get(path).body) == 8 * MIB


@pytest.mark.parametrize("path", ["/", "/lua"])
@pytest.mark.parametrize("framing", [("Content-Length", str(GIB)), ("Transfer-Encoding", "chunked")])
def test_a_slow_download_of_a_gibibyte_costs_no_memory(gateway, origin, path, framing):
    warm_up(gateway, origin, path)
    meter = Meter()

    def answer(wire, _):
        wire.send_head(200, [framing])
        meter.push(wire, framing[1] == "chunked")
        raise http1.Closed

    origin.answer = answer
    worker = gateway.workers()[0]
    before = process.resident_bytes(worker)
    with gateway.connect(buffers=64 * 1024) as client:
        client.send_request("GET", path)
        client.read_head()
        taken = read_slowly(client, SECONDS)
        growth = process.resident_bytes(worker) - before
        assert taken >= MIB, "the reader was served"
        assert growth < GROWTH, f"{growth / MIB:.1f} MiB more after {taken / MIB:.1f} MiB"
        assert meter.sent <= taken + MIB + BETWEEN, f"the origin could send {meter.sent / MIB:.1f} MiB for {taken / MIB:.1f} MiB"
    assert meter.ended.wait(wait.PATIENCE), "the upstream is let go with the client"


@pytest.mark.parametrize("path", ["/", "/lua"])
def test_a_slow_upstream_holds_an_upload_up(gateway, origin, path):
    warm_up(gateway, origin, path)
    taken = []

    def answer(wire, _):
        taken.append(read_slowly(wire, SECONDS))
        raise http1.Closed

    origin.answer = answer
    worker = gateway.workers()[0]
    before = process.resident_bytes(worker)
    meter = Meter()
    with gateway.connect(buffers=64 * 1024) as client:
        client.send_request("POST", path, [("Content-Length", str(GIB))])
        threading.Thread(target=meter.push, args=(client,), daemon=True).start()
        wait.until(lambda: taken, "the upstream had read for a while")
        growth = process.resident_bytes(worker) - before
        assert growth < GROWTH, f"{growth / MIB:.1f} MiB more after {taken[0] / MIB:.1f} MiB"
        assert meter.sent <= taken[0] + MIB + BETWEEN
    assert meter.ended.wait(wait.PATIENCE)


def test_a_thousand_requests_leave_no_memory_behind(gateway, origin):
    origin.answer = lambda wire, request: (wire.read_request_body(request), wire.respond(200, [], b"y" * 10_000))
    worker = gateway.workers()[0]

    def ask(count):
        with gateway.connect() as client:
            for i in range(count):
                assert client.request("POST", "/lua" if i % 2 else "/", body=b"z" * 10_000).status == 200

    ask(500)
    before = process.resident_bytes(worker)
    ask(1000)
    assert process.resident_bytes(worker) - before < GROWTH

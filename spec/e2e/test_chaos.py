# SPDX-License-Identifier: MIT
"""Clients and upstreams that end at any point of an exchange, while the configuration is reloaded: nothing may crash or leak."""

import random
import threading
import time

import pytest

from support import http1, wait
from support.gateway import Gateway
from support.upstream import Seen, describe

CONFIG = """
local perigee = require "perigee"

return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = WORKERS,
  listeners = { { address = "127.0.0.1:0", timeouts = { stream_idle = "500ms" } } },
  upstreams = { origin = { endpoints = { "$origin" }, timeouts = { request = "200ms", idle = "200ms" } } },
  routes = {
    { name = "sleeps", match = { path = "/sleeps" }, policies = { "naps" }, upstream = "origin" },
    { name = "fetches", match = { path = "/fetches" }, policies = { { "naps", fetch = true } }, upstream = "origin" },
    { name = "around", match = { path = "/around" }, policies = { { "retries" } }, upstream = "origin" },
    { name = "reads", match = { path = "/reads" }, handler = function(req)
        local text, message = req.body:read(65536)
        return reply(text and 200 or 413, text or message)
      end },
    { name = "quick", match = { path = "/quick" }, reply = "quick" },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""

NAPS = """
local perigee = require "perigee"
local Naps = perigee.policy { name = "naps", stage = "traffic", schema = { fetch = { type = "boolean", default = false } } }
local function nap(self)
  if self.conf.fetch then perigee.http.fetch("http://origin/inner", { timeout = 0.1 }) else perigee.sleep(0.01) end
end
function Naps:on_request(req) nap(self) end
function Naps:on_upstream(req, attempt) nap(self) end
function Naps:on_response(req, res) nap(self) end
function Naps:on_request_body(req, chunk) perigee.sleep(0.001) return chunk end
function Naps:on_response_body(req, res, chunk) perigee.sleep(0.001) return chunk end
function Naps:on_log(req, res) nap(self) end
return Naps
"""

RETRIES = """
local perigee = require "perigee"
local Retries = perigee.policy { name = "retries", stage = "traffic", schema = {} }
function Retries:around(req, next)
  for _ = 1, 2 do
    local res = next(req)
    if res.status < 500 then return res end
    perigee.sleep(0.005)
  end
  return next(req)
end
return Retries
"""

FILES = {"policies/naps/init.lua": NAPS, "policies/retries/init.lua": RETRIES}
PATHS = [b"/sleeps", b"/fetches", b"/around", b"/reads", b"/quick", b"/plain"]
SECONDS = 4
CLIENTS = 12


def hostile_answer(dice):
    """An upstream that does what it likes."""
    def garbage(wire, _):
        wire.send(dice.randbytes(dice.randint(1, 300)))
        wire.close()

    def half(wire, _):
        wire.send_head(200, [("Content-Length", "50000")])
        wire.send(b"h" * dice.randint(0, 40000))
        wire.close()

    def chunks(wire, request):
        wire.read_request_body(request)
        wire.send_head(200, [("Transfer-Encoding", "chunked")])
        for _ in range(dice.randint(0, 20)):
            wire.send(http1.chunk(b"c" * dice.randint(1, 30000)))
        wire.send(b"0\r\n\r\n")

    def early(wire, _):
        wire.respond(dice.choice((200, 403, 500)), [("Connection", "close")], b"e" * dice.randint(0, 9000))
        wire.close()

    def tunnel(wire, request):
        if "upgrade" not in request.headers:
            return describe(wire, request)
        wire.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")], "Switching Protocols")
        wire.send(wire.read_some())
        raise http1.Closed

    def silent(wire, _):
        wire.read_rest()
        raise http1.Closed

    actions = [describe, describe, garbage, half, chunks, chunks, early, tunnel, silent, lambda wire, _: wire.reset(), lambda wire, _: wire.close()]
    return lambda wire, request: dice.choice(actions)(wire, request)


def hostile_client(gateway, dice, end):
    """A client that does what it likes, until the end."""
    while not end.is_over():
        path = dice.choice(PATHS)
        body = b"b" * dice.randint(0, 90000)
        kinds = [
            b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path,
            b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (path, len(body), body),
            b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % (path, http1.chunk(body) if body else b""),
            b"POST %s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" % path,
            b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly" % path,
            b"GET %s HTTP/1.0\r\n\r\n" % path,
        ]
        data = b"".join(dice.choice(kinds) for _ in range(dice.randint(1, 3)))
        if dice.random() < 0.4:
            data = data[:dice.randint(0, len(data))]
        if dice.random() < 0.1:
            at = dice.randint(0, len(data))
            data = data[:at] + dice.randbytes(3) + data[at:]
        try:
            client = gateway.connect()
        except OSError:
            return  # it is gone: the test says so
        client.sock.settimeout(dice.choice((0.01, 0.05, 1)))
        try:
            client.send(data)
            for _ in range(dice.randint(0, 6)):
                if not client.sock.recv(65536):
                    break
        except OSError:
            pass
        client.reset() if dice.random() < 0.5 else client.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_crashes_or_leaks_when_everybody_misbehaves(origin, workers):
    text = CONFIG.replace("WORKERS", str(workers))
    with Gateway(text, files=FILES, values={"origin": origin.address}) as gateway:
        before = gateway.workers()
        origin.answer = hostile_answer(random.Random(workers))
        end = wait.Deadline(SECONDS)
        threads = [threading.Thread(target=hostile_client, args=(gateway, random.Random(f"{workers}-{i}"), end), daemon=True) for i in range(CLIENTS)]
        for thread in threads:
            thread.start()
        while not end.is_over():
            gateway.reload(text)
            time.sleep(0.1)  # the pace of the reloads
        for thread in threads:
            thread.join(wait.PATIENCE)
            assert not thread.is_alive()
        assert gateway.workers() == before, f"a worker died:\n{gateway.errors}"
        origin.forget()
        assert Seen(gateway.get("/after")).target == "/after"
        assert gateway.get("/quick").text() == "quick"
        wait.until(lambda: sum(worker["connections"] for worker in gateway.ask_json("/status")["workers"]) <= 1, "every connection was let go")
        origin.close_connections()
    origin.forget()

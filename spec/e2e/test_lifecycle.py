# SPDX-License-Identifier: MIT
"""Ends in the middle of waits, with real processes: exchanges wait at every place at once, and then something ends.

spec/contract/lifecycle_spec.lua has the whole table in memory; here is what only signals, sockets and processes show.
"""

import contextlib
import os
import signal
import socket
import threading

import pytest

from support import http1, wait
from support.metrics import Metrics
from support.upstream import describe

CONFIG = """
local perigee = require "perigee"
local routes = {
  { name = "go", match = { path = "/go" }, handler = function() perigee.shared "stays":set("go", 1) return reply(200, "went") end },
  { name = "staying", match = { path = "/staying" }, handler = function()
      return reply(200, tostring(perigee.shared "stays":get "count" or 0))
    end },
  { name = "deaf", match = { path = "/deaf" }, upstream = "deaf" },
  { name = "quick", match = { path = "/quick" }, upstream = "origin" },
  { name = "handler", match = { path = "/handler/{how}" }, policies = { "stays" }, handler = function(req)
      perigee.shared "stays":incr("count", 1)
      repeat perigee.sleep(0.02) until perigee.shared "stays":get "go"
      return reply(200, "handled")
    end },
}
for _, where in ipairs { "on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "on_log", "before", "after" } do
  for _, how in ipairs { "sleep", "fetch", "connect", "task", "read" } do
    routes[#routes + 1] = {
      name = where .. "-" .. how, match = { path = "/" .. where .. "/" .. how }, upstream = "origin",
      policies = { { "stays", where = where, how = how } },
    }
  end
end
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = $workers,
  drain = "20s",
  listeners = { { address = "127.0.0.1:0" }, { address = "127.0.0.1:0" } },
  upstreams = {
    origin = { endpoints = { "$origin" } },
    silent = { endpoints = { "$silent" }, timeouts = { connect = "20s", request = "20s" } },
    deaf = { endpoints = { "$silent" }, timeouts = { connect = "300ms" } },
  },
  routes = routes,
}
"""

POLICY = """
local perigee = require "perigee"

local Stays = perigee.policy {
    name = "stays", stage = "auth",
    schema = {
        where = { type = "string", default = "", doc = "Hook that waits." },
        how = { type = "string", default = "", doc = "What for." },
    },
}

local waits = {}

function waits.sleep()
    repeat perigee.sleep(0.02) until perigee.shared "stays":get "go"
end

function waits.fetch()
    perigee.http.fetch("http://origin/hold", { timeout = 60 })
end

function waits.connect()
    local task = perigee.spawn(function() perigee.http.fetch("http://silent/", { timeout = 60 }) end)
    waits.sleep()
    task:cancel()
end

function waits.task()
    perigee.spawn(waits.sleep):wait()
end

function waits.read(req, res)
    local body = (res or req).body:read()
    waits.sleep()
    return body
end

local function stay(self, where, req, res)
    if self.conf.where == where and not req.ctx.has_stayed then
        req.ctx.has_stayed = true
        perigee.shared "stays":incr("count", 1)
        waits[self.conf.how](req, res)
    end
end

function Stays:on_request(req) stay(self, "on_request", req) end
function Stays:on_request_body(req) stay(self, "on_request_body", req) end
function Stays:on_upstream(req) stay(self, "on_upstream", req) end
function Stays:on_response(req, res) stay(self, "on_response", req, res) end
function Stays:on_response_body(req, res) stay(self, "on_response_body", req, res) end
function Stays:on_log(req) stay(self, "on_log", req) end

return Stays
"""

AROUND = """

function Stays:around(req, next)
    stay(self, "before", req)
    local res = next(req)
    stay(self, "after", req, res)
    return res
end

return Stays
"""

WHERE = ["on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "on_log"]
HOW = ["sleep", "fetch", "connect", "task", "read"]
PLACES = [f"/{where}/{how}" for where in WHERE for how in HOW if (where, how) != ("on_log", "read")] + ["/handler/sleep"]
AROUND_PLACES = [f"/{where}/{how}" for where in ("before", "after") for how in HOW]


@contextlib.contextmanager
def silent_address():
    """An address that answers no connection: the queue of its listening socket is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield "127.0.0.1:%d" % listener.getsockname()[1]


class Crowd:
    """A gateway with an exchange at each place."""

    def __init__(self, launch, origin, silent, workers, has_around):
        self.go_on = threading.Event()
        self.origin = origin
        origin.answer = self.answer
        policy = POLICY.replace("\nreturn Stays\n", AROUND) if has_around else POLICY
        self.gateway = launch(CONFIG, files={"policies/stays/init.lua": policy},
                              values={"origin": origin.address, "silent": silent, "workers": workers})
        self.clients = {}
        for place in AROUND_PLACES if has_around else PLACES:
            self.clients[place] = client = self.gateway.connect(listener=len(self.clients) % 2)
            client.send_request("POST", place, body=b"body of it")
        wait.until(lambda: self.gateway.get("/staying").text() == str(len(self.clients)), "all stayed")

    def answer(self, wire, request):
        if request.target == "/hold":
            wire.read_request_body(request)
            if not self.go_on.wait(wait.PATIENCE):
                raise http1.Closed
        describe(wire, request)

    def let_go(self):
        self.go_on.set()
        if self.gateway.process.poll() is None:
            with contextlib.suppress(ConnectionError, http1.Closed):
                self.gateway.get("/go")

    def close(self):
        self.let_go()
        for client in self.clients.values():
            client.close()


@pytest.fixture(params=[(0, False), (1, False), (1, True)], ids=["single", "worker", "around"])
def crowd(request, launch, origin):
    workers, has_around = request.param
    with silent_address() as silent:
        crowd = Crowd(launch, origin, silent, workers, has_around)
        yield crowd
        crowd.close()


def check_answered(crowd):
    for place, client in crowd.clients.items():
        response = client.read_response()
        assert response.status == 200, place


def connections(gateway):
    return Metrics(gateway.ask("GET", "/metrics").text()).sum("perigee_connections")


def check_alone(gateway):
    """Nothing of the crowd is left, and the next request is served."""
    wait.until(lambda: connections(gateway) == 0, "all connections were gone")
    assert gateway.get("/quick").status == 200


def test_a_reload_lets_everything_that_waits_finish(crowd):
    generation = crowd.gateway.ask_json("/status")["generation"]
    crowd.gateway.reload()
    assert crowd.gateway.ask_json("/status")["generation"] == generation + 1
    crowd.let_go()
    check_answered(crowd)
    crowd.close()
    check_alone(crowd.gateway)


def test_a_drain_lets_everything_that_waits_finish(crowd):
    go = crowd.gateway.connect()  # a connection is idle no more once its request has begun
    go.send(b"GET /go HTTP/1.1\r\nHost: gate")
    wait.until(lambda: crowd.gateway.get("/quick").status == 200, "the worker had read it")
    crowd.gateway.signal()
    wait.until(lambda: "drain" in crowd.gateway.errors or is_refused(crowd.gateway), "nothing listened any more")
    crowd.go_on.set()
    go.send(b"way\r\n\r\n")
    assert go.read_response().text() == "went"
    check_answered(crowd)
    assert crowd.gateway.wait_exit() == 0
    go.close()


def is_refused(gateway):
    try:
        gateway.connect().close()
        return False
    except (ConnectionRefusedError, ConnectionResetError):
        return True


def test_a_second_signal_ends_everything_that_waits(crowd):
    crowd.gateway.signal()
    wait.until(lambda: is_refused(crowd.gateway), "nothing listened any more")
    crowd.gateway.signal()
    assert crowd.gateway.wait_exit() == 0
    for place, client in crowd.clients.items():
        with contextlib.suppress(ConnectionError):
            rest = client.read_rest()
            assert not rest or "on_log" in place or "on_response_body" in place, (place, rest)


def test_clients_that_break_off_leave_nothing(crowd):
    for client in crowd.clients.values():
        client.reset()
    logging = sum("on_log" in place for place in crowd.clients)  # they end with their hook
    wait.until(lambda: connections(crowd.gateway) == logging, "all others were gone")
    crowd.let_go()
    check_alone(crowd.gateway)
    def logged():
        return sorted(line["path"] for line in crowd.gateway.log_lines() if line["path"] in crowd.clients)

    wait.until(lambda: len(logged()) >= len(crowd.clients), "all were logged")
    assert logged() == sorted(crowd.clients), "each was logged once"


def test_a_server_that_never_accepts_is_given_up_while_everything_else_waits(crowd):
    assert crowd.gateway.get("/deaf").status == 503
    crowd.let_go()
    check_answered(crowd)


def test_clients_that_end_their_direction_are_answered(crowd):
    for client in crowd.clients.values():
        client.sock.shutdown(socket.SHUT_WR)
    crowd.let_go()
    for place, client in crowd.clients.items():
        assert client.read_response().status == 200, place
        assert client.is_at_end(), place


def test_an_origin_that_goes_away_is_told_to_whoever_waits_for_it(crowd):
    crowd.origin.close_connections()
    crowd.let_go()
    for place, client in crowd.clients.items():
        try:
            status = client.read_response().status
        except (http1.Closed, ConnectionError):
            continue  # the response had begun
        assert status in (200, 502), place
    crowd.close()
    check_alone(crowd.gateway)


@pytest.mark.parametrize("crowd", [(1, False), (1, True)], ids=["worker", "around"], indirect=True)
def test_a_worker_that_is_killed_is_replaced(crowd):
    worker = crowd.gateway.workers()[0]
    os.kill(worker, signal.SIGKILL)
    for client in crowd.clients.values():
        with contextlib.suppress(http1.Closed, ConnectionError):
            client.read_rest()
    crowd.gateway.wait_replaced(worker)
    crowd.go_on.set()
    assert crowd.gateway.get("/quick").status == 200

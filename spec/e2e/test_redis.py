# SPDX-License-Identifier: MIT
"""A real Redis: limits that gateways share, and what happens to requests while it is slow, away or refuses."""

import json
import socketserver
import threading

import pytest

from support import load, wait
from support.metrics import Metrics
from support.redis import Redis

LIMIT = 300

CONFIG = """
local perigee = require "perigee"
local redis = perigee.redis { address = "$redis", password = $password, timeout = "200ms" }
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = $workers,
  listeners = { { address = "127.0.0.1:0" } },
  routes = {
    { name = "limited", match = { path = "/limited" }, reply = { status = 200, body = "in" },
      policies = { { "rate_limit", limit = $limit, window = "1h", by = "route", redis = { address = "$redis", password = $password, timeout = "200ms" } } } },
    { name = "sliding", match = { path = "/sliding" }, reply = { status = 200, body = "in" },
      policies = { { "rate_limit", algorithm = "sliding_window", limit = $limit, window = "1h", by = "route",
        redis = { address = "$redis", password = $password, timeout = "200ms" } } } },
    { name = "quota", match = { path = "/quota" }, reply = { status = 200, body = "in" },
      policies = { { "quota", limit = $limit, period = "month", by = "route",
        redis = { address = "$redis", password = $password, timeout = "200ms" } } } },
    { name = "call", match = { path = "/call" }, handler = function(req)
        local args = {}
        for word in req.query:get("c"):gmatch("%S+") do args[#args + 1] = word end
        local value, message, code = redis:call(unpack(args))
        return perigee.reply(200, perigee.json.encode { value = value, message = message, code = code })
      end },
    { name = "many", match = { path = "/many" }, handler = function(req)
        local tasks, wrong = {}, 0
        for i = 1, 200 do
          local text = ("%d:%s"):format(i, ("x"):rep(i * 50))
          tasks[i] = perigee.spawn(function()
            redis:call("SET", "many:" .. i, text)
            if redis:call("GET", "many:" .. i) ~= text then wrong = wrong + 1 end
          end)
        end
        for i = 1, 200 do perigee.wait(tasks[i]) end
        return perigee.reply(200, wrong .. "")
      end },
  },
}
"""


def start(launch, redis, workers=1, limit=LIMIT, password="nil"):
    return launch(CONFIG, values={"redis": redis.address, "workers": workers, "limit": limit, "password": password})


@pytest.fixture
def redis():
    with Redis("--enable-debug-command", "local") as server:
        yield server


def call(gateway, command):
    return json.loads(gateway.get("/call?c=" + command.replace(" ", "+")).body)


def statuses(gateway, requests, path="/limited"):
    with gateway.connect() as client:
        return [client.get(path).status for _ in range(requests)]


def log_count(gateway, text):
    return sum(text in line for line in gateway.lines)


def is_logged_once(gateway, text):
    wait.until(lambda: log_count(gateway, text) > 0, f"the log says '{text}'")
    return log_count(gateway, text) == 1


def counted_locally(gateway):
    return Metrics(gateway.ask("GET", "/metrics").body.decode()).sum("rate_limit_local_total")


def test_replies_of_every_kind_come_back(launch, redis):
    gateway = start(launch, redis)
    assert call(gateway, "SET k hello")["value"] == "OK"
    assert call(gateway, "GET k")["value"] == "hello"
    assert call(gateway, "GET none") == {}
    assert call(gateway, "INCR n")["value"] == 1
    assert call(gateway, "INCR k")["code"] == "ERR"
    assert call(gateway, "LPUSH k 1")["code"] == "WRONGTYPE"
    assert call(gateway, "MGET k none n")["value"] == ["hello", False, "1"]


def test_a_thousand_commands_at_once_get_their_own_replies(launch, redis):
    gateway = start(launch, redis)
    assert [gateway.get("/many").body for _ in range(3)] == [b"0"] * 3


@pytest.mark.parametrize("path", ["/limited", "/sliding", "/quota"])
def test_two_gateways_with_two_workers_each_admit_exactly_the_limit(launch, redis, path):
    gateways = [start(launch, redis, workers=2) for _ in range(2)]
    answers = [status for _ in range(10) for gateway in gateways for status in statuses(gateway, LIMIT // 10, path)]
    assert len(answers) == 2 * LIMIT
    assert set(answers) == {200, 429}
    assert LIMIT <= answers.count(200) <= LIMIT * 1.01
    assert all(counted_locally(gateway) == 0 for gateway in gateways)


def test_a_redis_that_dies_and_comes_back_under_load_costs_no_request(launch, redis):
    gateway = start(launch, redis, workers=2, limit=10**9)
    loads = [load.Load(gateway, ["/limited"]) for _ in range(4)]
    load.wait_for_answers(loads, 50)
    for _ in range(3):
        redis.kill()
        before = counted_locally(gateway)
        wait.until(lambda: counted_locally(gateway) > before, "requests are counted here")
        load.wait_for_answers(loads, 50)
        redis.start()
        wait.until(lambda: redis.ask("DBSIZE") == ":1", "requests are counted by Redis again")
    assert [failure for one in loads for failure in one.stop()] == []


def test_limits_hold_locally_while_redis_is_away_and_the_log_says_so_once(launch, redis):
    gateway = start(launch, redis, limit=5)
    redis.kill()
    assert statuses(gateway, 10) == [200] * 5 + [429] * 5
    assert statuses(gateway, 10) == [429] * 10
    assert is_logged_once(gateway, "Redis is away")
    redis.start()
    wait.until(lambda: statuses(gateway, 1) == [200], "Redis counts again")
    assert is_logged_once(gateway, "Redis is back")


def test_a_quota_outlives_reloads_and_redis_and_who_used_it_up_stays_refused(launch, redis):
    gateway = start(launch, redis, limit=5)
    assert statuses(gateway, 3, "/quota") == [200] * 3
    gateway.reload()
    assert statuses(gateway, 3, "/quota") == [200, 200, 429]
    redis.kill()
    assert statuses(gateway, 3, "/quota") == [429] * 3
    gateway.reload()
    assert statuses(gateway, 3, "/quota") == [429] * 3
    assert log_count(gateway, "Redis is away") >= 1


def test_a_redis_that_hangs_is_waited_for_once(launch, redis):
    gateway = start(launch, redis, limit=10**9)
    assert statuses(gateway, 1) == [200]
    redis.pause()
    assert statuses(gateway, 200) == [200] * 200
    assert counted_locally(gateway) == 200
    assert is_logged_once(gateway, "did not answer in time")
    redis.resume()

    def is_back():
        statuses(gateway, 1)
        return log_count(gateway, "Redis is back") == 1
    wait.until(is_back, "Redis counts again")


def test_a_slow_command_times_out_and_the_next_connection_is_in_order(launch, redis):
    gateway = start(launch, redis)
    assert call(gateway, "SET k right")["value"] == "OK"
    assert call(gateway, "DEBUG SLEEP 1")["code"] == "timeout"
    wait.until(lambda: call(gateway, "GET k") == {"value": "right"}, "Redis answers again")
    assert [call(gateway, "GET k")["value"] for _ in range(20)] == ["right"] * 20


def test_a_wrong_password_is_named_and_limits_are_local(launch):
    with Redis("--requirepass", "right") as redis:
        gateway = start(launch, redis, limit=3, password='"secret-of-the-test"')
        assert statuses(gateway, 4) == [200, 200, 200, 429]
        answer = call(gateway, "GET k")
        assert answer["code"] == "refused" and "WRONGPASS" in answer["message"]
        assert is_logged_once(gateway, "WRONGPASS")
        assert log_count(gateway, "secret-of-the-test") == 0


def test_the_right_password_lets_in(launch):
    with Redis("--requirepass", "right") as redis:
        gateway = start(launch, redis, password='"right"')
        assert call(gateway, "SET k v")["value"] == "OK"


def test_a_peer_that_speaks_no_redis_is_left_alone(launch):
    with socketserver.TCPServer(("127.0.0.1", 0), Talker) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = "%s:%d" % server.server_address
        gateway = launch(CONFIG, values={"redis": address, "workers": 1, "limit": 2, "password": "nil"})
        assert statuses(gateway, 3) == [200, 200, 429]
        assert call(gateway, "GET k")["code"] == "protocol"
        server.shutdown()


class Talker(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(1000)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_reload_and_the_end_leave_no_connection(launch, redis):
    gateway = start(launch, redis)
    for number in range(5):
        assert call(gateway, f"SET k {number}")["value"] == "OK"
        gateway.reload()
    assert "connected_clients:2" in redis.read("INFO", "clients")  # the one that asks, too
    gateway.stop()
    wait.until(lambda: "connected_clients:1" in redis.read("INFO", "clients"), "only the question is connected")

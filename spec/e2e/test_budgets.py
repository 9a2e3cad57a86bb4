# SPDX-License-Identifier: MIT
"""What a policy may use: CPU time and memory, and what becomes of one that uses more."""

import os
import signal

import pytest

from support import wait
from support.checks import check_problem
from support.gateway import run
from support.metrics import Metrics

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = WORKERS,
  lua_memory = "32m",
  listeners = { { address = "127.0.0.1:0" } },
  routes = {
    { name = "closed", match = { path = "/closed" }, reply = "passed", policies = { { "spin", budget = "20ms" } } },
    { name = "open", match = { path = "/open" }, reply = "passed",
      policies = { { "spin", budget = { cpu = "20ms" }, on_failure = "open" } } },
    { name = "waits", match = { path = "/waits" }, reply = "passed", policies = { "waits" } },
    { name = "greedy", match = { path = "/greedy" }, handler = function()
        local kept = {}
        while true do kept[#kept + 1] = ("x"):rep(10000) .. #kept end
    end },
    { name = "lua", match = { path = "/lua" }, handler = function() return reply(200, "fine") end },
  },
}
"""

SPIN = """
local Spin = require("perigee").policy { name = "spin", stage = "auth", schema = {} }

local function spin()
  while true do pcall(function() while true do end end) end
end

function Spin:on_request(req)
  if req.query:get("spin") then spin() end
end
return Spin
"""

WAITS = """
local perigee = require "perigee"
local Waits = perigee.policy { name = "waits", stage = "traffic", schema = {} }
function Waits:on_request() perigee.sleep(0.05) end
return Waits
"""


@pytest.fixture
def start(launch):
    def begin(workers=1):
        return launch(CONFIG.replace("WORKERS", str(workers)), files={"policies/spin/init.lua": SPIN, "policies/waits/init.lua": WAITS})

    return begin


def metrics(gateway):
    return Metrics(gateway.ask("GET", "/metrics").text())


def policy(gateway, route, name="spin"):
    return next(entry for entry in gateway.ask_json("/policies") if entry["route"] == route and entry["policy"] == name)


def test_a_policy_that_spends_its_budget_fails_as_it_says(start):
    gateway = start()
    workers = gateway.workers()
    check_problem(gateway.get("/closed?spin=1"), 503)
    assert gateway.get("/open?spin=1").text() == "passed"
    assert gateway.get("/closed").text() == "passed"
    assert gateway.workers() == workers
    assert "policy 'spin' on route 'closed' failed in on_request: policies/spin/init.lua:5: the CPU budget of 20 ms is spent" in gateway.errors
    assert "policies/spin/init.lua:9: in function" in gateway.errors
    now = metrics(gateway)
    assert now.find("perigee_policy_budget_trips_total", policy="spin", route="closed") == [1]
    assert now.find("perigee_policy_errors_total", policy="spin", route="closed") == [1]
    assert now.sum("perigee_policy_cpu_seconds_total", policy="spin", route="closed") > 0.01


@pytest.mark.parametrize("workers", [0, 1])
def test_a_policy_that_spends_its_budget_again_and_again_is_in_quarantine_until_a_reload(start, workers):
    gateway = start(workers)
    for _ in range(5):
        assert policy(gateway, "closed")["quarantined"] is False
        assert gateway.get("/closed?spin=1").status == 503
    assert gateway.get("/closed").status == 503
    assert policy(gateway, "closed")["quarantined"] is True
    assert policy(gateway, "closed")["budget_trips"] == 5
    assert policy(gateway, "open")["quarantined"] is False
    assert metrics(gateway).find("perigee_policy_quarantined", policy="spin", route="closed") == [1]
    assert gateway.get("/open").text() == "passed"
    said = "policy 'spin' on route 'closed': it is in quarantine until the next reload"
    wait.until(lambda: said in gateway.errors, "the quarantine was logged")
    gateway.reload()
    assert gateway.get("/closed").text() == "passed"
    assert policy(gateway, "closed")["quarantined"] is False


def test_a_refused_reload_does_not_end_a_quarantine(start):
    gateway = start()
    for _ in range(5):
        gateway.get("/closed?spin=1")
    gateway.write(gateway.name, "return {")
    assert gateway.command("reload").returncode == 1
    assert gateway.get("/closed").status == 503
    assert policy(gateway, "closed")["quarantined"] is True


def test_a_quarantine_ends_with_its_worker(start):
    gateway = start()
    for _ in range(5):
        gateway.get("/closed?spin=1")
    [worker] = gateway.workers()
    os.kill(worker, signal.SIGKILL)
    gateway.wait_replaced(worker)
    assert gateway.get("/closed").text() == "passed"
    assert policy(gateway, "closed")["quarantined"] is False


def test_waiting_is_part_of_the_duration_of_a_policy_and_not_of_its_cpu_time(start):
    gateway = start()
    for _ in range(3):
        assert gateway.get("/waits").text() == "passed"
    entry = policy(gateway, "waits", "waits")
    assert entry["calls"] == 3
    assert entry["duration_seconds"] > 0.1 > entry["cpu_seconds"]
    now = metrics(gateway)
    assert now.find("perigee_policy_duration_seconds_count", policy="waits") == [3]
    assert now.sum("perigee_policy_duration_seconds_sum", policy="waits") > 0.1


def test_a_script_that_takes_all_memory_fails_and_the_worker_goes_on(start):
    gateway = start()
    workers = gateway.workers()
    for _ in range(3):
        assert gateway.get("/greedy").status == 500
        assert gateway.get("/lua").text() == "fine"
    assert gateway.workers() == workers
    now = metrics(gateway)
    limit = 32 * 1024 * 1024
    assert now.find("perigee_worker_lua_limit_bytes", worker="0") == [limit]
    assert 0 < now.sum("perigee_worker_lua_bytes", worker="0") < limit
    assert now.sum("perigee_worker_lua_full_total", worker="0") >= 1
    assert now.sum("perigee_worker_gc_pause_seconds_count", worker="0") >= 1
    longest = now.sum("perigee_worker_gc_pause_longest_seconds", worker="0")
    assert 0 < longest <= now.sum("perigee_worker_gc_pause_seconds_sum", worker="0")


def test_a_configuration_that_does_not_end_is_refused_by_check_and_by_reload(start, folder):
    endless = "local n = 0\nwhile true do\n  n = n + 1\nend\n"
    path = folder.write("gateway.lua", endless)
    result = run("check", path)
    assert result.returncode == 1
    assert "the CPU budget of 1000 ms is spent" in result.stderr
    assert "gateway.lua:" in result.stderr
    gateway = start()
    gateway.write(gateway.name, endless)
    result = gateway.command("reload")
    assert result.returncode == 1
    assert "the CPU budget of 1000 ms is spent" in result.stdout + result.stderr
    assert gateway.get("/lua").text() == "fine"

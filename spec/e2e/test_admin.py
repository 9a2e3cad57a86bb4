# SPDX-License-Identifier: MIT
"""The admin API: what it shows, what it changes, whom it refuses, and that its counters add up."""

import re

import pytest

from support import client, wait
from support.checks import check_problem
from support.gateway import Gateway, run
from support.metrics import Metrics
from support.upstream import describe, free_address

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 2,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { { "$origin", weight = 3 } } }, nobody = { endpoints = { "$nobody" } } },
  policies = { "headers_of_test" },
  routes = {
    { name = "fixed", match = { path = "/fixed" }, reply = "fixed" },
    { name = "denied", match = { path = "/denied" }, reply = { status = 403 } },
    { name = "nobody", match = { path = "/nobody" }, upstream = "nobody" },
    { name = "user", match = { path = "/users/{id}" }, upstream = "origin" },
  },
}
"""

POLICY = """
local Policy = require("perigee").policy { name = "headers_of_test", stage = "transform", schema = { key = { type = "string", default = "s3cr3t", secret = true } } }
function Policy:on_request(req) end
return Policy
"""


@pytest.fixture(scope="module")
def gateway(origin):
    with Gateway(CONFIG, files={"policies/headers_of_test/init.lua": POLICY}, values={"origin": origin.address, "nobody": free_address()}) as started:
        yield started


def metrics(gateway):
    response = gateway.ask("GET", "/metrics")
    assert response.status == 200
    assert response.headers.get("content-type").startswith("text/plain; version=0.0.4")
    return Metrics(response.text())


# ---------------------------------------------------------------- what can be read


def test_health_and_readiness(gateway):
    assert gateway.ask("GET", "/healthz").status == 200
    assert gateway.ask("GET", "/readyz").status == 200


def test_status_tells_about_generation_and_workers(gateway):
    status = gateway.ask_json("/status")
    assert (status["generation"], status["state"], status["listeners"]) == (1, "serving", gateway.addresses)
    assert re.fullmatch(r"[0-9a-f]{64}", status["digest"])
    assert status["uptime_s"] >= 0 and status["version"]
    assert len(status["workers"]) == 2
    for index, worker in enumerate(status["workers"]):
        assert (worker["index"], worker["state"], worker["generation"], worker["restarts"]) == (index, "ready", 1, 0)
        assert worker["pid"] > 0 and worker["connections"] >= 0


def test_connections_are_counted(gateway):
    def connections():
        return sum(worker["connections"] for worker in gateway.ask_json("/status")["workers"])

    before = connections()
    clients = [gateway.connect() for _ in range(7)]
    for one in clients:
        assert one.get("/fixed").status == 200
    wait.until(lambda: connections() == before + 7, "seven more were counted")
    for one in clients:
        one.close()
    wait.until(lambda: connections() == before, "they were counted out")


def test_generations_routes_upstreams_and_policies_are_listed(gateway):
    assert [entry["generation"] for entry in gateway.ask_json("/generations")] == [1]
    assert [route["name"] for route in gateway.ask_json("/routes")] == ["fixed", "denied", "nobody", "user"]
    upstreams = {upstream["name"]: upstream for upstream in gateway.ask_json("/upstreams")}
    assert upstreams["origin"]["endpoints"][0]["weight"] == 3
    assert {entry["policy"] for entry in gateway.ask_json("/policies")} == {"headers_of_test"}


@pytest.mark.parametrize("path", ["/status", "/generations", "/routes", "/upstreams", "/policies", "/metrics"])
def test_secrets_are_never_shown(gateway, path):
    assert b"s3cr3t" not in gateway.ask("GET", path).body


def test_head_is_answered_like_get_without_a_body(gateway):
    with client.Client(gateway.admin) as c:
        assert c.request("HEAD", "/healthz", [("Host", "localhost")]).status == 200
        assert c.get("/healthz", [("Host", "localhost")]).status == 200


# ---------------------------------------------------------------- whom it refuses


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/", 404), ("GET", "/statusx", 404), ("POST", "/status", 405), ("GET", "/reload", 405), ("GET", "/rollback", 405), ("DELETE", "/drain", 405),
    ("HEAD", "/reload", 405),
])
def test_what_does_not_exist_is_refused(gateway, method, path, status):
    with client.Client(gateway.admin) as c:
        response = c.request(method, path, [("Host", "localhost")])
        assert response.status == status
        if status == 405:
            assert response.headers.get("allow")
        assert c.get("/healthz", [("Host", "localhost")]).status == 200


@pytest.fixture(scope="module")
def tcp(origin):
    config = CONFIG.replace("unix:$dir/admin.sock", "127.0.0.1:0").replace("workers = 2", "workers = 1")
    with Gateway(config, files={"policies/headers_of_test/init.lua": POLICY}, values={"origin": origin.address, "nobody": free_address()}) as started:
        line = wait.until(lambda: [line for line in started.lines if "admin" in line], "the admin address was told")[0]
        started.admin = re.search(r"127\.0\.0\.1:\d+", line).group()
        yield started


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.1:9901", "[::1]", "LOCALHOST:80"])
def test_the_names_of_this_machine_are_answered(tcp, host):
    assert client.get(tcp.admin, "/healthz", [("Host", host)]).status == 200


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1.evil.test", "localhost.evil.test", "192.168.0.1", "0.0.0.0"])
def test_a_name_that_was_rebound_to_this_machine_is_refused(tcp, host):
    for method, path in (("GET", "/status"), ("POST", "/reload")):
        assert client.fetch(tcp.admin, method, path, [("Host", host)]).status == 403
    assert tcp.ask_json("/status")["generation"] == 1


@pytest.mark.parametrize("origin_field", ["http://evil.test", "https://localhost", "null", "http://localhost.evil.test", ""])
def test_a_page_of_another_site_cannot_reload(tcp, origin_field):
    assert client.fetch(tcp.admin, "POST", "/reload", [("Host", "localhost"), ("Origin", origin_field)]).status == 403
    assert tcp.ask_json("/status")["generation"] == 1


def test_the_commands_work_over_tcp(tcp):
    before = tcp.ask_json("/status")["generation"]
    assert tcp.command("reload").returncode == 0
    assert tcp.ask_json("/status")["generation"] == before + 1
    assert tcp.command("status").returncode == 0


def test_hostile_requests_are_refused(tcp):
    with client.Client(tcp.admin) as c:
        c.send(b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert c.read_response().status == 400
        assert c.is_at_end()
    with client.Client(tcp.admin) as c:
        response = c.request("POST", "/reload", [("Host", "localhost")], b"x" * 100_000)
        assert response.status == 413


def test_a_public_admin_address_is_refused(folder):
    path = folder.write("gateway.lua", 'return { admin = "0.0.0.0:9901", routes = {} }')
    result = run("check", path)
    assert result.returncode == 1
    assert "admin" in result.stderr


# ---------------------------------------------------------------- metrics

NAMES = {
    "perigee_requests_total", "perigee_request_duration_seconds_bucket", "perigee_request_duration_seconds_sum", "perigee_request_duration_seconds_count",
    "perigee_upstream_requests_total", "perigee_upstream_connect_failures_total", "perigee_policy_calls_total", "perigee_policy_errors_total",
    "perigee_policy_cpu_seconds_total", "perigee_policy_duration_seconds_sum", "perigee_policy_duration_seconds_count", "perigee_policy_budget_trips_total",
    "perigee_policy_quarantined", "perigee_worker_lua_limit_bytes", "perigee_worker_lua_full_total", "perigee_worker_gc_pause_seconds_sum",
    "perigee_worker_gc_pause_seconds_count", "perigee_worker_gc_pause_longest_seconds", "perigee_connections", "perigee_reloads_total", "perigee_generation", "perigee_worker_restarts_total",
}


def test_the_counters_are_the_requests_that_were_made(gateway, origin):
    origin.answer = describe
    before = metrics(gateway)
    made = {("fixed", 200): 13, ("denied", 403): 5, ("nobody", 503): 3, ("user", 200): 11}
    for (route, _), count in made.items():
        for i in range(count):
            gateway.get({"user": f"/users/{i}"}.get(route, f"/{route}"))
    for _ in range(4):
        check_problem(gateway.get("/no-such-route"), 404)
    after = wait_for_total(gateway, before.sum("perigee_requests_total") + sum(made.values()) + 4)
    expected = [
        ("perigee_upstream_requests_total", {"upstream": "origin", "code": "200"}, 11),
        ("perigee_upstream_connect_failures_total", {"upstream": "nobody"}, 3),
        ("perigee_policy_calls_total", {"policy": "headers_of_test", "route": "user"}, 11),
        ("perigee_policy_errors_total", {"policy": "headers_of_test"}, 0),
    ]
    for (route, code), count in made.items():
        expected.append(("perigee_requests_total", {"route": route, "code": str(code)}, count))
        expected.append(("perigee_request_duration_seconds_count", {"route": route}, count))
    for name, labels, count in expected:
        assert after.sum(name, **labels) - before.sum(name, **labels) == count, (name, labels)
    assert NAMES <= after.names()


def wait_for_total(gateway, total):
    def read():
        now = metrics(gateway)
        return now.sum("perigee_requests_total") >= total and now

    now = wait.until(read, f"{total} requests were counted")
    assert now.sum("perigee_requests_total") == total
    return now


def test_a_refused_request_is_counted_too(gateway):
    before = metrics(gateway).sum("perigee_requests_total")
    with gateway.connect() as c:
        c.send(b"GET / HTTP/1.1\r\n\r\n")
        assert c.read_response().status == 400
    wait_for_total(gateway, before + 1)


def test_histograms_are_cumulative(gateway):
    for _ in range(5):
        gateway.get("/fixed")
    now = metrics(gateway)
    bounds = sorted((float(labels["le"]), value) for name, labels, value in now.samples
                    if name == "perigee_request_duration_seconds_bucket" and labels["route"] == "fixed")
    assert [bound for bound, _ in bounds] == [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, float("inf")]
    values = [value for _, value in bounds]
    assert values == sorted(values)
    assert [values[-1]] == now.find("perigee_request_duration_seconds_count", route="fixed")


def test_counters_survive_a_reload(gateway):
    gateway.get("/fixed")
    before = metrics(gateway).sum("perigee_requests_total", route="fixed")
    gateway.reload()
    gateway.get("/fixed")
    wait.until(lambda: metrics(gateway).sum("perigee_requests_total", route="fixed") == before + 1, "the request was counted on top")


def test_what_a_policy_measures_is_there(launch):
    gateway = launch("""
local metrics = require "perigee.metrics"
local made = metrics.counter("shop_orders_total", "Orders made.", { "kind" })
return {
  admin = "unix:$dir/admin.sock", access_log = "off", workers = 2,
  listeners = { { address = "127.0.0.1:0" } },
  routes = { { handler = function(req) made:inc(2, { req.path }) return reply(200, "ok") end } },
}
""", values={"a": "b"})
    for _ in range(10):
        gateway.get("/a")
    gateway.get("/quote%22")
    now = metrics(gateway)
    assert now.sum("shop_orders_total", kind="/a") == 20
    assert now.types["shop_orders_total"] == "counter"
    assert now.sum("shop_orders_total") == 22

# SPDX-License-Identifier: MIT
"""A reload is a transaction: all workers take over the new files, or none does, and no request notices."""

import json
import os
import signal
import threading
import time

import pytest

from support import client, http1, wait
from support.gateway import run
from support.load import Load, wait_for_answers
from support.metrics import Metrics
from support.upstream import describe

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 2,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" } } },
  policies = { { "stamp", value = "VALUE" } },
  routes = {
    { name = "version", match = { path = "/version" }, reply = "VERSION" },
    { name = "lua", match = { path = "/lua" }, handler = function(req) return reply(200, "VERSION") end },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""

STAMP = """
local perigee = require "perigee"
local Stamp = perigee.policy { name = "stamp", stage = "transform", schema = { value = { type = "string", required = true } } }
function Stamp:init() self.calls = 0 end
function Stamp:save() return { calls = self.calls } end
function Stamp:restore(state) self.restored = state.calls end
function Stamp:on_request(req) self.calls = self.calls + 1 end
function Stamp:on_response(req, res)
  res.headers["x-stamp"] = self.conf.value
  res.headers["x-restored"] = tostring(self.restored)
end
return Stamp
"""


def config(version, value=None, text=CONFIG):
    return text.replace("VERSION", str(version)).replace("VALUE", str(value or version))


@pytest.fixture
def gateway(origin, launch):
    return launch(config(1), files={"policies/stamp/init.lua": STAMP}, values={"origin": origin.address})


def versions(gateway, requests=24):
    """What `requests` new connections are answered: with two workers, both of them are asked."""
    return {gateway.get("/version").text() for _ in range(requests)}


# ---------------------------------------------------------------- taking over


def test_after_a_reload_no_worker_answers_with_the_old_generation(gateway):
    assert versions(gateway) == {"1"}
    for version in range(2, 6):
        gateway.reload(config(version))
        assert versions(gateway) == {str(version)}


def test_connections_that_were_open_get_the_new_generation(gateway):
    with gateway.connect() as kept:
        assert kept.get("/version").text() == "1"
        gateway.reload(config(2))
        assert kept.get("/version").text() == "2"
        assert kept.get("/lua").text() == "2"


def test_code_of_a_policy_is_taken_over(gateway):
    gateway.write("policies/stamp/init.lua", STAMP.replace("self.conf.value", '"new code"'))
    gateway.reload()
    assert {gateway.get("/version").headers.get("x-stamp") for _ in range(10)} == {"new code"}


def test_settings_of_a_policy_are_taken_over(gateway):
    assert gateway.get("/version").headers.get("x-stamp") == "1"
    gateway.reload(config(1, "changed"))
    assert gateway.get("/version").headers.get("x-stamp") == "changed"


def test_state_that_a_policy_saves_survives(origin, launch):
    gateway = launch(config(1).replace("workers = 2", "workers = 1"), files={"policies/stamp/init.lua": STAMP}, values={"origin": origin.address})
    for _ in range(7):
        assert gateway.get("/version").headers.get("x-restored") == "nil"
    gateway.reload()
    assert gateway.get("/version").headers.get("x-restored") == "7"


def test_the_command_says_which_generation_serves(gateway):
    result = gateway.reload(config(2))
    assert "2" in result.stdout + result.stderr
    status = gateway.ask_json("/status")
    assert status["generation"] == 2
    assert {worker["generation"] for worker in status["workers"]} == {2}


def test_sighup_reloads(gateway):
    gateway.write("gateway.lua", config(2))
    gateway.signal(signal.SIGHUP)
    wait.until(lambda: gateway.ask_json("/status")["generation"] == 2, "the generation changed")
    assert versions(gateway) == {"2"}


def test_post_reload_answers_with_the_new_generation(gateway):
    gateway.write("gateway.lua", config(2))
    response = gateway.ask("POST", "/reload")
    assert (response.status, json.loads(response.body)["generation"]) == (200, 2)
    assert versions(gateway) == {"2"}


def test_a_listener_is_added_and_removed_beside_the_others(gateway):
    two = config(2).replace('{ { address = "127.0.0.1:0" } }', '{ { address = "127.0.0.1:0" }, { address = "unix:$dir/more.sock" } }')
    more = f"unix:{gateway.folder.path}/more.sock"
    with gateway.connect() as kept:
        assert kept.get("/version").text() == "1"
        gateway.reload(two)
        assert client.get(more, "/version").text() == "2"
        assert kept.get("/version").text() == "2"
        gateway.reload(config(3))
        assert not os.path.exists(more[5:])
        assert kept.get("/version").text() == "3"


def test_watching_reloads_by_itself(origin, launch):
    text = config(1).replace("workers = 2,", "workers = 1, watch = true,")
    gateway = launch(text, files={"policies/stamp/init.lua": STAMP}, values={"origin": origin.address})
    gateway.write("gateway.lua", text.replace('reply = "1"', 'reply = "2"'))
    wait.until(lambda: gateway.get("/version").text() == "2", "the change was noticed")
    gateway.write("policies/stamp/init.lua", STAMP.replace("self.conf.value", '"watched"'))
    wait.until(lambda: gateway.get("/version").headers.get("x-stamp") == "watched", "the change of the policy was noticed")


# ---------------------------------------------------------------- nothing is lost


def test_twenty_reloads_under_load_lose_no_request(gateway):
    loads = [Load(gateway, ["/version", "/lua", "/through"]) for _ in range(6)]
    reloads = 20
    began = time.monotonic()
    for i in range(reloads):
        gateway.reload(config(i + 2))
        time.sleep(max(0, began + (i + 1) * 0.15 - time.monotonic()))  # an even pace
    wait_for_answers(loads)
    failures = [failure for load in loads for failure in load.stop()]
    assert failures == []
    assert sum(load.answers for load in loads) > 20 * reloads
    assert versions(gateway) == {str(reloads + 1)}


def test_an_exchange_ends_on_the_generation_it_began_with(gateway, origin):
    may_answer = threading.Event()

    def answer(wire, request):
        assert may_answer.wait(wait.PATIENCE)
        describe(wire, request)

    origin.answer = answer
    with gateway.connect() as kept:
        kept.send_request("GET", "/slow")
        origin.wait_for_heads(1)
        for version in (2, 3):
            gateway.reload(config(version))
        may_answer.set()
        assert kept.read_response().headers.get("x-stamp") == "1"
        assert kept.get("/version").headers.get("x-stamp") == "3"


def test_a_tunnel_and_a_slow_download_survive_reloads(gateway, origin):
    go_on = threading.Event()

    def answer(wire, request):
        if request.target == "/tunnel":
            wire.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")], "Switching Protocols")
            while (data := wire.read_some()):
                wire.send(data)
            raise http1.Closed
        wire.send_head(200, [("Content-Length", "2000000")])
        wire.send(b"x" * 1000000)
        assert go_on.wait(wait.PATIENCE)
        wire.send(b"y" * 1000000)

    origin.answer = answer
    with gateway.connect() as tunnel, gateway.connect() as download:
        assert tunnel.request("GET", "/tunnel", [("Connection", "Upgrade"), ("Upgrade", "websocket")]).status == 101
        download.send_request("GET", "/download")
        head = download.read_head()
        first = download.read_exactly(1000)
        for version in (2, 3, 4):
            gateway.reload(config(version))
            tunnel.send(b"still here %d" % version)
            assert tunnel.read_exactly(12) == b"still here %d" % version
        go_on.set()
        body = first + download.read_exactly(int(head.headers.get("content-length")) - 1000)
        assert body == b"x" * 1000000 + b"y" * 1000000


def test_old_generations_are_let_go(gateway):
    for version in range(2, 12):
        gateway.reload(config(version))
    generations = [entry["generation"] for entry in gateway.ask_json("/generations") if entry["is_kept"]]
    assert max(generations) == 11
    assert len(generations) <= 6


# ---------------------------------------------------------------- refused

BROKEN = {
    "a syntax error": (lambda text: text.replace("routes = {", "routes = ,"), "gateway.lua:9", "unexpected symbol"),
    "a runtime error": (lambda text: "local nothing\nlocal x = nothing.field\n" + text, "gateway.lua:2", "nothing"),
    "an unknown setting": (lambda text: text.replace("upstream = \"origin\"", "upsteam = \"origin\""), "gateway.lua:12", "upstream"),
    "a wrong type": (lambda text: text.replace('match = { path = "/version" }', "match = { path = 7 }"), "gateway.lua:10", "routes[1].match.path"),
    "an unknown upstream": (lambda text: text.replace('upstream = "origin"', 'upstream = "orogin"'), "gateway.lua:12", "origin"),
    "a policy's unknown upstream": (
        lambda text: text.replace('{ "stamp", value = "2" }', '{ "mirror", upstream = "orogin" }'), "gateway.lua:8", "did you mean 'origin'"),
    "a missing policy": (lambda text: text.replace('"stamp"', '"stomp"'), "gateway.lua:8", "stomp"),
    "a missing setting": (lambda text: text.replace('value = "2"', 'valve = "2"'), "gateway.lua:8", "value"),
    "an endless loop": (lambda text: "while true do end\n" + text, "", ""),
    "no table": (lambda text: "return 7", "gateway.lua", "table"),
    "a change of workers": (lambda text: text.replace("workers = 2", "workers = 3"), "", "restart"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_configuration_is_refused_and_the_old_one_serves(gateway, kind):
    spoil, place, reason = BROKEN[kind]
    gateway.write("gateway.lua", spoil(config(2)))
    result = gateway.command("reload")
    assert result.returncode == 1
    assert place in result.stdout + result.stderr
    assert reason in result.stdout + result.stderr
    assert versions(gateway) == {"1"}
    assert gateway.ask_json("/status")["generation"] == 1
    gateway.reload(config(3))
    assert versions(gateway) == {"3"}


BROKEN_POLICIES = {
    "a syntax error": (STAMP + "end", "policies/stamp/init.lua:"),
    "an error when it is loaded": ('error "not today"', "not today"),
    "an error in init": (STAMP.replace("self.calls = 0", 'error "init fails"'), "init fails"),
    "a hook that does not exist": (STAMP.replace("on_response", "on_respons"), "on_response"),
    "no policy": ("return {}", "perigee.policy"),
}


@pytest.mark.parametrize("kind", BROKEN_POLICIES)
def test_a_broken_policy_is_refused_and_the_old_one_serves(gateway, kind):
    text, reason = BROKEN_POLICIES[kind]
    gateway.write("policies/stamp/init.lua", text)
    result = gateway.command("reload")
    assert result.returncode == 1
    assert reason in result.stdout + result.stderr
    assert "policies/stamp/init.lua" in result.stdout + result.stderr or "gateway.lua" in result.stdout + result.stderr
    assert versions(gateway) == {"1"}


def test_an_init_that_fails_in_one_worker_stops_all(gateway):
    gateway.write("policies/stamp/init.lua", STAMP.replace("self.calls = 0", 'if perigee.worker == 1 then error "only here" end self.calls = 0'))
    result = gateway.command("reload")
    assert (result.returncode, "only here" in result.stdout + result.stderr) == (1, True)
    assert {gateway.get("/version").headers.get("x-restored") for _ in range(24)} == {"nil"}
    assert {worker["generation"] for worker in gateway.ask_json("/status")["workers"]} == {1}


def test_post_reload_answers_422_with_every_error(gateway):
    gateway.write("gateway.lua", config(2).replace("upstream =", "upsteam =").replace("match = {}", "mach = {}"))
    response = gateway.ask("POST", "/reload")
    body = json.loads(response.body)
    assert response.status == 422
    assert len(body["errors"]) >= 2
    for error in body["errors"]:
        assert error["message"]
        assert error["file"].endswith("gateway.lua")
        assert error["line"] == 12
        assert error["path"].startswith("routes[3]")
    assert body["generation"] == 1
    assert versions(gateway) == {"1"}


def test_a_file_that_vanished_is_refused(gateway):
    (gateway.folder.path / "gateway.lua").unlink()
    result = gateway.command("reload")
    assert result.returncode == 1
    assert "gateway.lua" in result.stdout + result.stderr
    assert versions(gateway) == {"1"}


def test_refused_reloads_are_counted(gateway):
    gateway.reload(config(2))
    gateway.write("gateway.lua", "return")
    assert gateway.command("reload").returncode == 1
    metrics = Metrics(gateway.ask("GET", "/metrics").text())
    results = {labels["result"]: value for name, labels, value in metrics.samples if name == "perigee_reloads_total"}
    assert sum(results.values()) == 2 and len([value for value in results.values() if value]) == 2, results
    assert metrics.sum("perigee_generation") == 2


def test_two_reloads_at_once_end_in_one_generation(gateway):
    gateway.write("gateway.lua", config(2))
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.ask("POST", "/reload"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} <= {200, 409}
    assert 200 in {answer.status for answer in answers}
    assert versions(gateway) == {"2"}


# ---------------------------------------------------------------- back


def test_rollback_goes_one_generation_back(gateway):
    gateway.reload(config(2))
    gateway.reload(config(3))
    result = gateway.command("rollback")
    assert result.returncode == 0, result.stderr
    assert versions(gateway) == {"2"}


def test_rollback_goes_back_to_a_generation_by_number(gateway):
    for version in (2, 3, 4):
        gateway.reload(config(version))
    assert gateway.command("rollback", "1").returncode == 0
    assert versions(gateway) == {"1"}


def test_rollback_needs_no_files(gateway):
    gateway.reload(config(2))
    for path in ("gateway.lua", "policies/stamp/init.lua"):
        (gateway.folder.path / path).unlink()
    assert gateway.command("rollback").returncode == 0
    assert versions(gateway) == {"1"}


@pytest.mark.parametrize("number", ["99", "0", "x"])
def test_rollback_to_what_does_not_exist_is_refused(gateway, number):
    gateway.reload(config(2))
    assert gateway.command("rollback", number).returncode in (1, 2)
    assert versions(gateway) == {"2"}


def test_rollback_without_a_past_is_refused(gateway):
    result = gateway.command("rollback")
    assert result.returncode == 1
    assert result.stderr.startswith("perigee: ")
    assert versions(gateway) == {"1"}


def test_a_worker_that_dies_comes_back_on_the_current_generation(gateway):
    gateway.reload(config(2))
    gateway.write("gateway.lua", "return broken")
    old = gateway.workers()[0]
    os.kill(old, signal.SIGKILL)
    gateway.wait_replaced(old)
    assert versions(gateway) == {"2"}


def test_reload_without_a_gateway_says_what_to_do(folder):
    result = run("reload", "--admin", f"unix:{folder.path}/nobody.sock")
    assert result.returncode == 1
    assert "nobody.sock" in result.stderr

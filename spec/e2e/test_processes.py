# SPDX-License-Identifier: MIT
"""Supervisor and workers: deaths, replacements, drains, and what is left when they end."""

import os
import signal
import socket
import subprocess
import threading

import pytest

from support import client, http1, process, wait
from support.checks import check_problem
from support.gateway import BINARY, run
from support.load import Load, wait_for_answers
from support.upstream import Seen, describe

CONFIG = """
local perigee = require "perigee"

return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = WORKERS,
  watchdog = "500ms",
  drain = "20s",
  listeners = { { address = "127.0.0.1:0" }, { address = "unix:$dir/front.sock" } },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = {
    { name = "worker", match = { path = "/worker" }, handler = function() return reply(200, tostring(perigee.worker)) end },
    { name = "count", match = { path = "/count" }, handler = function() return reply(200, tostring(perigee.shared "n":incr("n", 1))) end },
    { name = "stuck", match = { path = "/stuck" }, handler = function()
        return reply(200, (('a'):rep(4000):find(('.-'):rep(30) .. 'b')))
    end },
    { name = "loops", match = { path = "/loops" }, handler = function() while true do pcall(function() while true do end end) end end },
    { name = "quick", match = { path = "/quick" }, reply = "quick" },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""


def config(workers):
    return CONFIG.replace("WORKERS", str(workers))


@pytest.fixture
def start(origin, launch):
    return lambda workers, **options: launch(config(workers), values={"origin": origin.address}, **options)


def kill(pid, number=signal.SIGKILL):
    os.kill(pid, number)


# ---------------------------------------------------------------- workers


def test_every_worker_serves(start):
    gateway = start(3)
    assert len(set(gateway.workers())) == 3
    assert sorted(process.children(gateway.pid)) == sorted(gateway.workers())
    wait.until(lambda: {gateway.get("/worker").text() for _ in range(30)} == {"0", "1", "2"}, "each worker had a connection")


def test_auto_is_the_number_of_cpus(start):
    gateway = start('"auto"')
    assert 1 <= len(gateway.workers()) <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_costs_only_what_it_had_under_way(start, workers):
    gateway = start(workers)
    loads = [Load(gateway, ["/quick", "/through"]) for _ in range(8)]
    wait_for_answers(loads)
    old = gateway.workers()[0]
    kill(old)
    gateway.wait_replaced(old)
    wait_for_answers(loads, 3)
    failures = [load.stop() for load in loads]
    assert all(len(of_one) <= 1 for of_one in failures), "a client had one request under way when the worker died"
    assert process.zombies(gateway.pid) == []
    status = gateway.ask_json("/status")["workers"][0]
    assert (status["restarts"], status["pid"] != old) == (1, True)


def test_connections_wait_for_the_next_worker(start):
    gateway = start(1)
    for _ in range(5):
        kill(gateway.workers()[0])
        assert gateway.get("/quick").text() == "quick"
        assert gateway.get("/quick", listener=1).text() == "quick"


def test_shared_memory_survives_a_worker(start):
    gateway = start(1)
    assert [gateway.get("/count").text() for _ in range(3)] == ["1", "2", "3"]
    old = gateway.workers()[0]
    kill(old)
    gateway.wait_replaced(old)
    assert gateway.get("/count").text() == "4"


def test_a_search_that_would_never_end_is_given_up_and_the_worker_goes_on(start):
    gateway = start(1)
    before = gateway.workers()
    assert gateway.get("/stuck").status == 500
    assert gateway.get("/quick").text() == "quick"
    assert gateway.workers() == before


def test_a_script_that_loops_for_ever_is_stopped_and_the_worker_goes_on(start):
    gateway = start(1)
    before = gateway.workers()
    for _ in range(3):
        assert gateway.get("/loops").status == 500
        assert gateway.get("/quick").text() == "quick"
    assert gateway.workers() == before
    assert "the CPU budget of 50 ms is spent" in gateway.errors


def test_a_worker_that_is_stopped_is_replaced(start):
    gateway = start(2)
    old = gateway.workers()[1]
    kill(old, signal.SIGSTOP)
    gateway.wait_replaced(old)
    assert {gateway.get("/quick").text() for _ in range(20)} == {"quick"}


def test_a_busy_gateway_is_not_taken_for_a_stuck_one(start):
    gateway = start(1)
    old = gateway.workers()
    loads = [Load(gateway, ["/quick", "/count", "/through"]) for _ in range(4)]
    wait_for_answers(loads, 300)
    assert [failure for load in loads for failure in load.stop()] == []
    assert gateway.workers() == old


def test_workers_inherit_nothing_that_is_not_theirs(start):
    reader, writer = os.pipe()
    secret = os.readlink(f"/proc/self/fd/{writer}")
    try:
        gateway = start(2, pass_fds=[writer])
    finally:
        os.close(reader)
        os.close(writer)
    for pid in gateway.workers():
        assert secret not in process.open_files(pid).values()


def test_workers_do_not_grow_by_reloads_and_deaths(start):
    gateway = start(2)

    def count():
        return [len(process.open_files(pid)) for pid in (gateway.pid, gateway.workers()[1])]

    for _ in range(8):  # more than are kept for a rollback, each of which is a descriptor
        gateway.reload()
    before = count()
    for _ in range(10):
        gateway.reload()
    old = gateway.workers()[0]
    kill(old)
    gateway.wait_replaced(old)
    wait.until(lambda: all(now <= then for now, then in zip(count(), before)), f"the descriptors were as before: {before}, {count()}")


# ---------------------------------------------------------------- the end


def test_workers_end_with_their_supervisor(start):
    gateway = start(2)
    workers = gateway.workers()
    address = gateway.address
    kill(gateway.pid)
    wait.until(lambda: not any(map(process.is_running, workers)), "the workers had ended")
    with pytest.raises(ConnectionRefusedError):
        client.Client(address)
    gateway.kill(workers)


def slow_response(origin):
    """Makes the origin send the second half of its response only when the event is set."""
    go_on = threading.Event()

    def answer(wire, request):
        wire.read_request_body(request)
        wire.send_head(200, [("Content-Length", "20")])
        wire.send(b"first half")
        assert go_on.wait(wait.PATIENCE)
        wire.send(b"second one")

    origin.answer = answer
    return go_on


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_finishes_what_is_under_way(start, origin, workers, number):
    gateway = start(workers)
    go_on = slow_response(origin)
    with gateway.connect() as busy, gateway.connect() as idle:
        assert idle.get("/quick").status == 200
        busy.send_request("GET", "/slow")
        busy.read_until(b"first half")
        gateway.signal(number)
        assert idle.is_at_end(), "an idle connection is closed at once"
        wait.until(lambda: is_refused(gateway.address), "nothing listened any more")
        assert gateway.process.poll() is None
        go_on.set()
        assert busy.read_exactly(10) == b"second one"
        assert busy.is_at_end()
    assert gateway.wait_exit() == 0


def is_refused(address):
    try:
        client.Client(address).close()
        return False
    except (ConnectionRefusedError, ConnectionResetError):
        return True


def test_a_response_that_begins_during_a_drain_says_close(start, origin):
    gateway = start(1)
    go_on = threading.Event()

    def answer(wire, request):
        assert go_on.wait(wait.PATIENCE)
        describe(wire, request)

    origin.answer = answer
    with gateway.connect() as busy:
        busy.send_request("GET", "/slow")
        origin.wait_for_heads(1)
        gateway.signal()
        wait.until(lambda: is_refused(gateway.address), "nothing listened any more")
        go_on.set()
        assert busy.read_response().headers.get("connection") == "close"
    assert gateway.wait_exit() == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_second_signal_ends_at_once(start, origin, workers):
    gateway = start(workers)
    slow_response(origin)
    with gateway.connect() as busy:
        busy.send_request("GET", "/slow")
        busy.read_until(b"first half")
        gateway.signal()
        wait.until(lambda: is_refused(gateway.address), "it drained")
        gateway.signal()
        assert gateway.wait_exit() == 0
        with pytest.raises(http1.Closed):
            busy.read_exactly(10)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_drain_ends_in_its_time(origin, launch, workers):
    gateway = launch(config(workers).replace('drain = "20s"', 'drain = "300ms"'), values={"origin": origin.address})
    slow_response(origin)
    with gateway.connect() as busy:
        busy.send_request("GET", "/slow")
        busy.read_until(b"first half")
        gateway.signal()
        assert gateway.wait_exit() == 0


def test_drain_is_a_command_too(start):
    gateway = start(1)
    assert gateway.command("drain").returncode == 0
    assert gateway.wait_exit() == 0


def test_the_access_log_is_complete_after_the_end(start):
    gateway = start(2)
    for i in range(50):
        gateway.get(f"/quick?{i}")
    gateway.signal()
    assert gateway.wait_exit() == 0
    assert {line["path"] for line in gateway.log_lines()} == {f"/quick?{i}" for i in range(50)}


# ---------------------------------------------------------------- the beginning


@pytest.mark.parametrize("workers", [0, 2])
def test_an_address_in_use_is_explained(folder, origin, workers):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        path = folder.write("gateway.lua", config(workers).replace("127.0.0.1:0", address), origin=origin.address)
        result = run("run", path)
    assert result.returncode == 1
    assert address in result.stderr
    assert "in use" in result.stderr


def test_two_gateways_do_not_share_an_address(start, folder, origin):
    gateway = start(2)
    path = folder.write("gateway.lua", config(2).replace("127.0.0.1:0", gateway.address), origin=origin.address)
    result = run("run", path)
    assert (result.returncode, "in use" in result.stderr) == (1, True)
    assert gateway.get("/quick").text() == "quick"


def test_a_unix_socket_in_use_is_not_taken_over(start, folder, origin):
    gateway = start(1)
    mine = gateway.addresses[1]
    path = folder.write("gateway.lua", config(1).replace("unix:$dir/front.sock", mine), origin=origin.address)
    result = run("run", path)
    assert (result.returncode, "in use" in result.stderr) == (1, True)
    assert gateway.get("/quick", listener=1).text() == "quick"


def test_a_unix_socket_that_nobody_serves_is_replaced(start):
    gateway = start(1)
    left_behind = gateway.addresses[1][5:]
    workers = gateway.workers()
    kill(gateway.pid)
    wait.until(lambda: not any(map(process.is_running, workers)), "the workers had ended")
    assert os.path.exists(left_behind)
    again = subprocess.Popen([BINARY, "run", gateway.folder.path / "gateway.lua"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert any(line.startswith("perigee: ready, ") for line in again.stderr)
        assert client.get(f"unix:{left_behind}", "/quick").text() == "quick"
        again.terminate()
        assert again.wait(wait.PATIENCE) == 0
    finally:
        again.kill()
        again.stderr.close()
        gateway.kill(workers)


def test_a_file_is_not_taken_for_a_socket(folder, origin):
    path = folder.write("gateway.lua", config(1), origin=origin.address)
    precious = folder.write("front.sock", "precious")
    assert run("run", path).returncode == 1
    assert precious.read_text() == "precious"


def test_a_broken_configuration_does_not_start(folder):
    path = folder.write("gateway.lua", "return {\n  routes = { { upsteam = \"a\" } },\n}\n")
    result = run("run", path)
    assert result.returncode == 1
    assert f"{path}:2: routes[1].upsteam: " in result.stderr


def test_a_policy_whose_init_fails_does_not_start(folder):
    path = folder.write("gateway.lua", 'return { listeners = { { address = "127.0.0.1:0" } }, policies = { "bad" }, routes = { { reply = "x" } } }')
    folder.write("policies/bad/init.lua", 'local p = require("perigee").policy { name = "bad", stage = "auth", schema = {} }\n'
                 'function p:init() error "no start" end\nfunction p:on_request() end\nreturn p\n')
    result = run("run", path)
    assert result.returncode == 1
    assert "no start" in result.stderr


# ---------------------------------------------------------------- one process


def test_a_single_process_has_no_children(start):
    gateway = start(0)
    assert process.children(gateway.pid) == []
    assert gateway.workers() == [gateway.pid]
    assert gateway.get("/worker").text() == "0"


def test_a_single_process_serves_and_reloads(start):
    gateway = start(0)
    with gateway.connect() as kept:
        assert Seen(kept.request("POST", "/a", body=b"x" * 100_000)).length == 100_000
        gateway.reload(config(0).replace('"quick"', '"quicker"'))
        assert kept.get("/quick").text() == "quicker"
        gateway.write("gateway.lua", "return nonsense")
        assert gateway.command("reload").returncode == 1
        assert kept.get("/quick").text() == "quicker"
        assert gateway.command("rollback").returncode == 0
        assert kept.get("/quick").text() == "quick"
    wait.until(lambda: process.children(gateway.pid) == [], "the check had ended")


def test_a_sidecar_is_one_process_with_relaxed_limits(origin, launch):
    text = config(0).replace("  workers = 0,\n", "")
    gateway = launch(text, values={"origin": origin.address}, command="sidecar")
    wait.until(lambda: process.children(gateway.pid) == [], "nobody was left but itself")
    many = [(f"X-{i}", "1") for i in range(150)]
    assert gateway.get("/quick", many).status == 200


def test_an_idle_sidecar_is_small(origin, launch):
    gateway = launch(config(0).replace("  workers = 0,\n", ""), values={"origin": origin.address}, command="sidecar")
    assert gateway.get("/worker").status == 200
    assert wait.SANITIZED or process.resident_bytes(gateway.pid) < 20_000_000


def test_gateway_is_another_word_for_run(start):
    gateway = start(1, command="gateway")
    check_problem(gateway.get("/quick", [("Expect", "what")]), 417)


def test_a_configuration_may_be_json(launch):
    text = '{"listeners": [{"address": "127.0.0.1:0"}], "workers": 1, "access_log": "off", "admin": "unix:$dir/admin.sock",\n' \
           ' "routes": [{"match": {"path": "/j"}, "reply": {"status": 203, "body": {"a": [1, 2]}}}]}'
    gateway = launch(text, name="gateway.json", values={"a": "b"})
    response = gateway.get("/j")
    assert (response.status, response.text()) == (203, '{"a":[1,2]}')
    gateway.write("gateway.json", text.replace("203", "200"))
    gateway.reload()
    assert gateway.get("/j").status == 200


def test_many_connections_come_and_go(start):
    gateway = start(2)
    for _ in range(5):
        clients = [gateway.connect() for _ in range(200)]
        for one in clients:
            one.send_request("GET", "/quick")
        for one in clients:
            assert one.read_response().text() == "quick"
            one.close()
    wait.until(lambda: sum(worker["connections"] for worker in gateway.ask_json("/status")["workers"]) == 0, "all were counted out")

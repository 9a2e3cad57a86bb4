# SPDX-License-Identifier: MIT
"""Policies that hold back requests, with several workers and a real service: windows and quotas are exact, limits follow the service."""

import os
import signal
import threading
import time

import pytest

from support import load, wait
from support.metrics import Metrics

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 2,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = {
    { name = "sliding", match = { path = "/sliding" }, reply = { status = 200, body = "in" },
      policies = { { "rate_limit", algorithm = "sliding_window", limit = 100, window = "1h", by = "route" } } },
    { name = "quota", match = { path = "/quota" }, reply = { status = 200, body = "in" },
      policies = { { "quota", limit = 100, period = "month", by = "route" } } },
    { name = "adaptive", match = { path = "/adaptive" }, upstream = "origin", policies = { "adaptive_concurrency" } },
    { name = "admission", match = { path = "/admission" }, upstream = "origin",
      policies = { { "admission_control", window = "2s" } } },
  },
}
"""

LIMITED = ["/sliding", "/quota"]
CLIENTS = 12


@pytest.fixture
def gateway(launch, origin):
    return launch(CONFIG, values={"origin": origin.address})


def metrics(gateway):
    return Metrics(gateway.ask("GET", "/metrics").body.decode())


def ask_at_once(gateway, path, each):
    """The statuses of `each` requests of every client; all ask at the same time."""
    answers = []

    def ask():
        with gateway.connect() as client:
            for _ in range(each):
                answers.append(client.get(path).status)

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(wait.PATIENCE)
    return answers


def answer_after(seconds):
    def answer(connection, request):
        time.sleep(seconds)
        connection.respond(200, body=b"served")
    return answer


@pytest.mark.parametrize("path", LIMITED)
def test_workers_together_admit_exactly_the_limit_to_clients_that_come_at_once(gateway, path):
    answers = ask_at_once(gateway, path, 20)
    assert len(answers) == CLIENTS * 20
    assert answers.count(200) == 100
    assert answers.count(429) == len(answers) - 100


@pytest.mark.parametrize("path", LIMITED)
def test_a_count_outlives_reloads_and_workers(gateway, path):
    assert ask_at_once(gateway, path, 8).count(200) == CLIENTS * 8
    gateway.reload()
    worker = gateway.workers()[0]
    os.kill(worker, signal.SIGKILL)
    gateway.wait_replaced(worker)
    assert ask_at_once(gateway, path, 8).count(200) == 100 - CLIENTS * 8


def limit_of(gateway):
    return metrics(gateway).sum("adaptive_concurrency_limit", use="adaptive#1")


def test_the_limit_of_a_service_grows_while_it_is_quick_and_falls_when_it_gets_slow(gateway, origin):
    origin.answer = answer_after(0.02)
    assert limit_of(gateway) == 2 * 3
    loads = [load.Load(gateway, ["/adaptive"]) for _ in range(CLIENTS)]
    wait.until(lambda: limit_of(gateway) > 10, "the limit grows")
    assert len(metrics(gateway).find("adaptive_concurrency_min_rtt_seconds")) >= 1
    assert metrics(gateway).sum("adaptive_concurrency_blocked_total") > 0  # in the beginning
    origin.answer = answer_after(0.3)
    wait.until(lambda: limit_of(gateway) <= 8, "the limit falls")
    failures = [failure for one in loads for failure in one.stop()]
    assert {failure.status for failure in failures} == {503}


def test_a_worker_that_dies_leaves_no_requests_counted(gateway, origin):
    held = threading.Event()

    def hold(connection, request):
        held.wait(wait.PATIENCE)
        connection.respond(200, body=b"served")

    origin.answer = hold
    clients = [gateway.connect() for _ in range(CLIENTS)]
    for client in clients:
        client.send_request("GET", "/adaptive")

    def have_all_come():
        return metrics(gateway).sum("adaptive_concurrency_blocked_total") + len(origin.heads) >= CLIENTS

    wait.until(have_all_come, "all are held or refused")
    for worker in gateway.workers():
        os.kill(worker, signal.SIGKILL)
        gateway.wait_replaced(worker)
    held.set()
    origin.answer = answer_after(0)
    with gateway.connect() as client:
        assert [client.get("/adaptive").status for _ in range(5)] == [200] * 5
    for client in clients:
        client.close()


def test_a_service_that_fails_gets_fewer_requests_and_all_of_them_when_it_is_well(gateway, origin):
    origin.answer = lambda connection, request: connection.respond(500, body=b"broken")
    with gateway.connect() as client:
        assert {client.get("/admission").status for _ in range(400)} == {500, 503}
        seen = len(origin.heads)
        assert 20 < seen < 300
        assert metrics(gateway).sum("admission_control_refused_total") == 400 - seen
        origin.answer = answer_after(0)
        wait.until(lambda: {client.get("/admission").status for _ in range(50)} == {200}, "nothing is refused")

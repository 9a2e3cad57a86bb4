# SPDX-License-Identifier: MIT
"""Requests beyond the breaker's limit wait for a place: in order, bounded, and not for ever."""

import contextlib
import os
import signal
import subprocess
import threading

import pytest

from support import wait
from support.checks import check_problem
from support.crowd import Crowd, allow_descriptors
from support.gateway import Gateway
from support.metrics import Metrics
from support.upstream import Upstream, describe

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = WORKERS,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" }, OTHERS breaker = { max_requests = 2, queue = { QUEUE } } } },
  routes = { { match = {}, upstream = "origin" } },
}
"""


class Turnstile:
    """An upstream's answer that lets one request through each time it is told to."""

    def __init__(self):
        self.turns = threading.Semaphore(0)

    def __call__(self, wire, request):
        assert self.turns.acquire(timeout=wait.PATIENCE)
        describe(wire, request)

    def let(self, count=1):
        self.turns.release(count)


@contextlib.contextmanager
def serving(queue, workers=1, others=""):
    with Upstream("origin", answer=Turnstile()) as origin:
        config = CONFIG.replace("WORKERS", str(workers)).replace("QUEUE", queue).replace("OTHERS", others)
        with Gateway(config, values={"origin": origin.address}) as gateway:
            yield gateway, origin


def breaker(gateway):
    upstream, = gateway.ask_json("/upstreams")
    return upstream["breaker"]


def metrics(gateway):
    return Metrics(gateway.ask("GET", "/metrics").body.decode())


def queued(gateway, result):
    return metrics(gateway).sum("perigee_upstream_queued_total", upstream="origin", result=result)


def send(gateway, target, method="GET", body=None):
    client = gateway.connect()
    client.send_request(method, target, body=body)
    return client


def fill(gateway, origin):
    """Takes both places."""
    clients = [send(gateway, f"/{i}") for i in range(2)]
    origin.wait_for_heads(2)
    return clients


def wait_queued(gateway, count):
    wait.until(lambda: breaker(gateway)["queue"] == count, f"{count} waited")


def end(origin, clients, statuses=(200,)):
    origin.answer.let(1000)
    for client in clients:
        assert client.read_response().status in statuses
        client.close()


def test_those_who_wait_are_served_in_their_order():
    with serving('max = 10, timeout = "10s"') as (gateway, origin):
        clients = fill(gateway, origin)
        for i in range(2, 6):
            clients.append(send(gateway, f"/{i}"))
            wait_queued(gateway, i - 1)
        for i in range(2, 6):
            origin.answer.let()
            origin.wait_for_heads(i + 1)
        assert origin.targets[2:] == ["/2", "/3", "/4", "/5"]
        end(origin, clients)
        assert breaker(gateway)["queue"] == 0
        assert queued(gateway, "served") == 4
        assert metrics(gateway).sum("perigee_upstream_overflows_total") == 0


def test_a_full_queue_refuses_and_a_long_wait_ends():
    with serving('max = 2, timeout = "300ms"') as (gateway, origin):
        clients = fill(gateway, origin)
        waiting = [send(gateway, f"/{i}") for i in range(2)]
        for client in waiting:
            check_problem(client.read_response(), 503, "upstream_overflow")
            client.close()
        assert queued(gateway, "timeout") == 2
        waiting = [send(gateway, f"/{i}") for i in range(2)]
        wait_queued(gateway, 2)
        check_problem(gateway.get("/full"), 503, "upstream_overflow")
        assert breaker(gateway)["overflows"]["queue"] == 1
        end(origin, clients)
        end(origin, waiting, (200, 503))
        lines = wait.until(lambda: len(gateway.log_lines()) == 7 and gateway.log_lines(), "all are in the log")
        flags = [line.get("flags") for line in lines]
        assert {line["upstream"] for line in lines} == {"origin"}
        assert flags.count("UO") >= 3 and set(flags) <= {"UO", "", None}
        assert "/full" not in origin.targets


def test_a_client_that_goes_away_leaves_the_queue():
    with serving('max = 10, timeout = "10s"') as (gateway, origin):
        clients = fill(gateway, origin)
        gone = send(gateway, "/gone")
        wait_queued(gateway, 1)
        clients.append(send(gateway, "/stays"))
        wait_queued(gateway, 2)
        gone.reset()
        wait_queued(gateway, 1)
        assert queued(gateway, "gone") == 1
        end(origin, clients)
        assert "/gone" not in origin.targets and "/stays" in origin.targets


def test_bodies_wait_with_their_requests():
    body = bytes(range(256)) * 2048  # 512 KiB
    with serving('max = 10, timeout = "10s"') as (gateway, origin):
        clients = fill(gateway, origin)
        waiting = gateway.connect()
        sender = threading.Thread(target=waiting.send_request, args=("POST", "/body"), kwargs={"body": body})
        sender.start()
        wait_queued(gateway, 1)
        end(origin, clients)
        response = waiting.read_response()
        sender.join(wait.PATIENCE)
        assert response.status == 200
        assert [request.body for request in origin.complete if request.target == "/body"] == [body]
        waiting.close()


def test_a_retry_waits_as_well():
    retries = "retries = { attempts = 2 },"
    with serving('max = 10, timeout = "10s"', others=retries) as (gateway, origin):
        turnstile = origin.answer
        origin.answer = lambda wire, request: wire.respond(503)
        fails = send(gateway, "/fails")
        origin.wait_for_heads(1)
        origin.answer = turnstile
        clients = [send(gateway, f"/{i}") for i in range(4)]
        end(origin, [fails, *clients], (200, 503))
        assert breaker(gateway)["requests"] == breaker(gateway)["queue"] == 0


def test_the_limit_holds_over_all_workers_and_nobody_is_forgotten():
    allow_descriptors(4096)
    with serving('max = 1000, timeout = "30s"', workers=4) as (gateway, origin):
        peak, lock, active = [0], threading.Lock(), [0]

        def answer(wire, request):
            with lock:
                active[0] += 1
                peak[0] = max(peak[0], active[0])
            wire.read_request_body(request)
            with lock:
                active[0] -= 1
            wire.respond(200)

        origin.answer = answer
        request = b"GET / HTTP/1.1\r\nHost: crowd\r\nConnection: close\r\n\r\n"
        with Crowd(gateway.address, 400, request) as crowd:
            crowd.run_until(lambda: not crowd.socks, "all were answered")
            assert crowd.statuses() == {200: 400}
        assert peak[0] <= 2
        assert breaker(gateway)["queue"] == breaker(gateway)["requests"] == 0


def test_those_of_a_killed_worker_are_forgotten_and_a_drain_serves_those_who_wait():
    with serving('max = 10, timeout = "10s"', workers=2) as (gateway, origin):
        victim = gateway.workers()[0]
        clients = [send(gateway, f"/{i}") for i in range(8)]
        origin.wait_for_heads(2)
        wait_queued(gateway, 6)
        os.kill(victim, signal.SIGKILL)
        gateway.wait_replaced(victim)
        gateway.signal()
        origin.answer.let(1000)
        for client in clients:
            with contextlib.suppress(Exception):  # the killed worker's
                assert client.read_response().status == 200
            client.close()
        assert gateway.wait_exit() == 0


def test_a_reload_keeps_those_who_wait():
    with serving('max = 10, timeout = "10s"') as (gateway, origin):
        clients = fill(gateway, origin)
        clients.append(send(gateway, "/before"))
        wait_queued(gateway, 1)
        gateway.reload()
        clients.append(send(gateway, "/after"))
        wait_queued(gateway, 2)
        end(origin, clients)
        assert sorted(origin.targets[2:]) == ["/after", "/before"]


def test_a_wait_is_explained(curl):
    with serving('max = 10, timeout = "10s"') as (gateway, origin):
        config = CONFIG.replace("WORKERS", "1").replace("OTHERS", "").replace("QUEUE", "max = 10")
        gateway.reload(config.replace("access_log", 'explain = { token = "a token of sixteen" }, access_log'))
        clients = fill(gateway, origin)
        explained = gateway.connect()
        explained.send_request("GET", "/why", [("x-perigee-explain", "a token of sixteen")])
        wait_queued(gateway, 1)
        origin.answer.let(1000)
        assert "for a place" in explained.read_response().headers.get("x-perigee-explain")
        explained.close()
        end(origin, clients)


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2-prior-knowledge"])
def test_both_versions_wait(curl, protocol):
    with serving('max = 10, timeout = "10s"') as (gateway, origin):
        clients = fill(gateway, origin)
        command = [curl, "-s", "-o", "/dev/null", "-w", "%{http_code}", protocol, f"http://{gateway.address}/curl"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            wait_queued(gateway, 1)
            end(origin, clients)
            assert running.communicate(timeout=wait.PATIENCE)[0] == "200"

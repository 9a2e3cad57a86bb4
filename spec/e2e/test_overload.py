# SPDX-License-Identifier: MIT
"""More clients, memory or connections than there is room for: it sheds by rule, stays alive, and comes back by itself."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import pytest

from support import process, wait
from support.checks import check_problem
from support.crowd import Crowd, allow_descriptors, limit_descriptors
from support.dns import Dns
from support.gateway import Gateway
from support.http1 import Closed
from support.metrics import Metrics
from support.upstream import Upstream, describe

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = WORKERS,
  overload = { OVERLOAD },
  listeners = { { address = "127.0.0.1:0", LISTENER } },
  upstreams = { origin = { endpoints = { "$origin" }, UPSTREAM } },
  routes = { { name = "hi", match = { path = "/hi" }, reply = "hi" }, { name = "all", match = {}, upstream = "origin" } },
}
"""

MIB = 1024 * 1024
LIMIT = (80 if wait.SANITIZED else 48) * MIB
GET = b"GET / HTTP/1.1\r\nHost: crowd\r\n\r\n"
HI = b"GET /hi HTTP/1.1\r\nHost: crowd\r\n\r\n"


class Gate:
    """An upstream's answer that waits until it is opened."""

    def __init__(self):
        self.opened = threading.Event()

    def __call__(self, wire, request):
        assert self.opened.wait(3 * wait.PATIENCE)
        describe(wire, request)


@contextlib.contextmanager
def silence():
    """The address of an upstream that accepts connections and neither reads nor answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(4096)
        yield "127.0.0.1:%d" % listener.getsockname()[1]


def environment():
    """A sanitizer must give freed memory back, as the program does."""
    options = [os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=1", "allocator_release_to_os_interval_ms=100"]
    return {**os.environ, "ASAN_OPTIONS": ":".join(filter(None, options))}


@contextlib.contextmanager
def serving(origin, overload="", listener="", upstream="", workers=1, **options):
    config = CONFIG.replace("WORKERS", str(workers))
    config = config.replace("OVERLOAD", overload).replace("LISTENER", listener).replace("UPSTREAM", upstream)
    with Gateway(config, values={"origin": origin}, env=environment(), **options) as gateway:
        yield gateway


def metrics(gateway):
    return Metrics(gateway.ask("GET", "/metrics").body.decode())


def gauge(gateway, resource):
    worker, = gateway.ask_json("/status")["workers"]
    return worker["overload"][resource]


def wait_calm(gateway, resource):
    wait.until(lambda: gauge(gateway, resource)["state"] == "calm", f"there was enough of {resource} again")


def wait_served(gateway, target="/hi"):
    """Waits for an ordinary answer; returns how long that took."""
    begun = time.monotonic()

    def is_served():
        try:
            return gateway.get(target).status == 200
        except (Closed, OSError):
            return False

    wait.until(is_served, "it served as before")
    return time.monotonic() - begun


def sockets(pid):
    return sum(name.startswith("socket:") for name in process.open_files(pid).values())


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------- connections


def test_newcomers_beyond_nine_tenths_are_answered_503_and_those_who_are_there_are_served():
    with Upstream() as origin, serving(origin.address, "connections = 20, fds = 0") as gateway:
        old = [gateway.connect() for _ in range(18)]
        old[0].send_request("GET", "/")
        assert old[0].read_response().status == 200
        wait.until(lambda: gauge(gateway, "connections")["state"] == "shedding", "it sheds")
        response = gateway.get("/hi")
        check_problem(response, 503, "overloaded")
        assert response.headers.get("retry-after") == "1"
        assert response.headers.get("connection") == "close"
        answers = []
        for client in old[1:]:
            client.send_request("GET", "/hi")
            answers.append(client.read_response())
        assert {answer.status for answer in answers} == {200}
        assert answers[0].headers.get("connection") == "close"
        assert answers[-1].headers.get("connection") is None
        wait_calm(gateway, "connections")
        kept = gateway.connect()
        for _ in range(2):
            assert kept.get("/hi").status == 200
        assert metrics(gateway).sum("perigee_overload_requests_total") == 1
        line = wait.until(lambda: [line for line in gateway.log_lines() if line["status"] == 503], "it is in the log")
        assert [entry.get("flags") for entry in line] == ["OM"]
        assert "overload: connections: 18 of 20: newcomers are answered 503" in gateway.errors
        wait.until(lambda: "overload: connections: over after" in gateway.errors, "the log says that it is over")
        kept.close()


def test_idle_connections_make_room_for_newcomers():
    with Upstream() as origin, serving(origin.address, "connections = 20, fds = 0") as gateway:
        idle = [gateway.connect() for _ in range(17)]
        for client in idle:
            assert client.get("/hi").status == 200
        late = [gateway.connect()]
        for client in idle:
            assert not client.fill(), "it was closed in an orderly way"
            client.close()
        assert late[0].get("/hi").status == 200
        late[0].close()
        wait_served(gateway)


def test_http2_and_grpc_are_told_in_their_own_way(curl):
    with Upstream() as origin, serving(origin.address, "connections = 10, fds = 0") as gateway:
        held = [gateway.connect() for _ in range(9)]
        wait.until(lambda: gauge(gateway, "connections")["state"] == "shedding", "it sheds")
        command = [curl, "-s", "-i", "--http2-prior-knowledge", f"http://{gateway.address}/hi"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        assert answer.startswith("HTTP/2 503"), answer
        assert "retry-after: 1" in answer and "urn:perigee:overloaded" in answer
        command[3:3] = ["-X", "POST", "-H", "content-type: application/grpc", "-H", "te: trailers"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        assert answer.startswith("HTTP/2 200"), answer
        assert "grpc-status: 14" in answer and "retry-after: 1" in answer
        for client in held:
            client.close()
        wait_calm(gateway, "connections")


def test_connections_that_are_passed_on_as_they_are_are_closed():
    listeners = 'protocol = "tcp", upstream = "origin" }, { address = "127.0.0.1:0"'
    with Upstream() as origin, serving(origin.address, "connections = 10, fds = 0", listeners) as gateway:
        held = [gateway.connect(listener=1) for _ in range(9)]
        wait.until(lambda: gauge(gateway, "connections")["state"] == "shedding", "it sheds")
        with gateway.connect() as client, pytest.raises((Closed, OSError)):
            client.get("/")
        for client in held:
            client.close()
        wait_calm(gateway, "connections")
        assert gateway.get("/").status == 200


def test_a_limit_that_a_reload_raises_holds_at_once():
    with Upstream() as origin, serving(origin.address, "connections = 10, fds = 0") as gateway:
        held = [gateway.connect() for _ in range(9)]
        wait.until(lambda: gauge(gateway, "connections")["state"] == "shedding", "it sheds")
        config = CONFIG.replace("WORKERS", "1").replace("OVERLOAD", "connections = 100").replace("LISTENER", "").replace("UPSTREAM", "")
        gateway.reload(config)
        wait_calm(gateway, "connections")
        assert gateway.get("/hi").status == 200
        for client in held:
            client.close()


# ---------------------------------------------------------------- descriptors


@pytest.mark.parametrize("workers", [0, 1])
def test_a_thousand_clients_with_256_descriptors_are_all_answered(workers):
    allow_descriptors(4096)
    gate = Gate()
    options = {"workers": workers, "preexec_fn": limit_descriptors(256)}
    with Upstream(answer=gate) as origin, serving(origin.address, **options) as gateway:
        worker, = gateway.workers()
        before = sockets(worker)
        with Crowd(gateway.address, 1000, GET) as crowd:
            crowd.run_until(lambda: crowd.count(503) + len(origin.heads) >= 1000, "all were refused or passed on")
            assert crowd.count(503) >= 850
            assert gauge(gateway, "connections")["state"] != "calm"
            gate.opened.set()
            crowd.run_until(lambda: not crowd.count(None), "all were answered")
            assert set(crowd.statuses()) == {200, 503}
        print(f"back to normal after {wait_served(gateway, '/'):.3f} s")
        for resource in ("connections", "fds"):
            wait_calm(gateway, resource)
        origin.close_connections()  # idle ones are kept otherwise
        wait.until(lambda: sockets(worker) <= before + 1, "descriptors came back")
        assert metrics(gateway).sum("perigee_accept_rests_total") == 0, "there was a reserve all the time"


def test_without_descriptors_accepting_rests_and_costs_nothing():
    allow_descriptors(4096)
    options = {"preexec_fn": limit_descriptors(64)}
    with silence() as origin, serving(origin, "fds = 0, connections = 0", **options) as gateway:
        worker, = gateway.workers()
        with Crowd(gateway.address, 200, b"") as crowd:
            def rests():
                return metrics(gateway).sum("perigee_accept_rests_total")

            wait.until(rests, "descriptors were out")
            begun, spent = rests(), cpu_seconds(worker)
            wait.until(lambda: rests() >= begun + 10, "it tried again a few times, for a second")
            assert cpu_seconds(worker) - spent < 0.3
            crowd.round()
        wait_served(gateway)


def test_a_lack_of_descriptors_for_the_upstream_is_not_the_endpoints_fault():
    outlier = "outlier = { consecutive_5xx = 1 }, pool = { max_idle = 0 }, " \
        'health = { path = "/health", interval = "100ms", unhealthy = 1 }'
    options = {"preexec_fn": limit_descriptors(64), "upstream": outlier}
    allow_descriptors(4096)
    with Upstream() as origin, serving(origin.address, "fds = 0, connections = 0", **options) as gateway:
        worker, = gateway.workers()
        client = gateway.connect()
        assert client.get("/").status == 200
        with Crowd(gateway.address, 100, b"") as crowd:
            wait.until(lambda: metrics(gateway).sum("perigee_accept_rests_total"), "descriptors were out")
            check_problem(client.get("/"), 503, "overloaded")
            begun = metrics(gateway).sum("perigee_accept_rests_total")
            wait.until(lambda: metrics(gateway).sum("perigee_accept_rests_total") >= begun + 5, "checks came due meanwhile")
            crowd.round()
        wait.until(lambda: sockets(worker) < 20, "descriptors came back")
        assert client.get("/").status == 200
        assert metrics(gateway).sum("perigee_upstream_ejections_total") == 0
        wait.until(lambda: metrics(gateway).sum("perigee_upstream_health_checks_total", result="success"), "it was checked")
        checks = metrics(gateway)
        assert checks.sum("perigee_upstream_health_checks_total") == checks.sum("perigee_upstream_health_checks_total", result="success")
        client.close()


def test_a_name_that_cannot_be_asked_for_without_descriptors_is_not_the_endpoints_fault(tmp_path):
    dns = Dns(tmp_path, "127.0.0.1")
    options = {"preexec_fn": limit_descriptors(64), "upstream": "outlier = { consecutive_5xx = 1 }, pool = { max_idle = 0 }"}
    allow_descriptors(4096)
    try:
        with Upstream() as origin:
            overload = f'fds = 0, connections = 0 }}, dns = {{ servers = {{ "{dns.address}" }}'
            with serving("orders.internal:" + origin.address.rsplit(":", 1)[1], overload, **options) as gateway:
                client = gateway.connect()
                assert client.get("/hi").status == 200
                with Crowd(gateway.address, 100, b"") as crowd:
                    wait.until(lambda: metrics(gateway).sum("perigee_accept_rests_total"), "descriptors were out")
                    check_problem(client.get("/"), 503, "overloaded")
                    crowd.round()
                wait.until(lambda: client.get("/").status == 200, "the name was asked for again")
                assert metrics(gateway).sum("perigee_upstream_ejections_total") == 0
                client.close()
    finally:
        dns.stop()


# ---------------------------------------------------------------- memory


BODY = b"POST / HTTP/1.1\r\nHost: crowd\r\nContent-Length: 1000000\r\n\r\n" + bytes(200000)


def test_at_its_memory_limit_it_sheds_stops_and_gives_the_memory_back():
    """Heads that do not end: requests that have not begun cannot be refused, and their memory goes beyond the limit."""
    allow_descriptors(4096)
    head = b"GET / HTTP/1.1\r\nHost: crowd\r\nX-Long: " + bytes(b"a" * 56 * 1024)
    with silence() as origin, serving(origin, f'memory = "{LIMIT // MIB}m"') as gateway:
        worker, = gateway.workers()
        wait_served(gateway)
        before = process.resident_bytes(worker)
        with Crowd(gateway.address, LIMIT // (48 * 1024), head) as crowd:
            crowd.run_until(lambda: gauge(gateway, "memory")["state"] == "stopped", "it accepts nobody")
            assert metrics(gateway).sum("perigee_overload_begun_total", resource="memory", state="shedding") == 1
            for _ in range(100):
                crowd.round()
            assert process.resident_bytes(worker) < 2 * LIMIT
        print(f"back to normal after {wait_served(gateway):.3f} s")
        wait_calm(gateway, "memory")
        wait.until(lambda: process.resident_bytes(worker) < before + LIMIT // 2, "memory came back")
        assert gateway.workers() == [worker]


@contextlib.contextmanager
def held_up(pid):
    """The process does nothing meanwhile: what others send waits for it, and then is there in one turn of its loop."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_crowd_that_sends_at_once_is_refused_before_it_fills_the_memory():
    allow_descriptors(4096)
    with silence() as origin, serving(origin, f'memory = "{LIMIT // MIB}m"', workers=0) as gateway:
        worker, = gateway.workers()
        with Crowd(gateway.address, 1500, BODY, pace=1) as crowd:
            crowd.run_until(lambda: gauge(gateway, "connections")["used"] == 1500, "all are accepted")
            with held_up(worker):
                crowd.fill()
            crowd.run_until(lambda: gauge(gateway, "memory")["state"] != "calm", "it sheds")
            for _ in range(100):
                crowd.round()
                assert process.resident_bytes(worker) < LIMIT * 5 // 4
            assert crowd.count(503) > 0
        wait_served(gateway)


def test_every_request_is_refused_while_memory_is_short():
    allow_descriptors(4096)
    with silence() as origin, serving(origin, f'memory = "{LIMIT // MIB}m"') as gateway:
        with gateway.connect() as client, Crowd(gateway.address, 1500, BODY) as crowd:
            crowd.run_until(lambda: gauge(gateway, "memory")["state"] != "calm", "it sheds")
            client.send_request("GET", "/hi")
            check_problem(client.read_response(), 503, "overloaded")
        wait_served(gateway)


# ---------------------------------------------------------------- clients and upstreams that hold it up


def test_an_upstream_that_accepts_and_never_answers_costs_its_requests_only():
    allow_descriptors(4096)
    times = 'timeouts = { request = "1s" }'
    with silence() as origin, serving(origin, upstream=times) as gateway:
        worker, = gateway.workers()
        before = sockets(worker)
        with Crowd(gateway.address, 1000, GET) as crowd:
            crowd.run_until(lambda: not crowd.count(None), "all were answered")
            assert crowd.statuses() == {504: 1000}
            assert gateway.get("/hi").status == 200
        wait.until(lambda: sockets(worker) <= before + 1, "descriptors came back")


SLOW = min(10000, allow_descriptors(12000) - 2000)


@pytest.mark.skipif(SLOW < 1000, reason="this process may not open enough descriptors")
def test_ten_thousand_clients_or_as_many_as_may_be_that_send_a_byte_at_a_time():
    """Nine tenths of the places are theirs until their time for a header is over; then all is as before."""
    places = SLOW * 9 // 10
    limits = f'limits = {{ connections = 20000 }}, timeouts = {{ headers = "{3 if not wait.SANITIZED else 20}s" }}'
    with Upstream() as origin, serving(origin.address, f"connections = {places}", limits) as gateway:
        worker, = gateway.workers()
        wait_served(gateway, "/")
        before, memory = sockets(worker), process.resident_bytes(worker)
        request = b"GET / HTTP/1.1\r\nHost: crowd\r\nX-Slow: " + bytes(b"a" * 10000)
        with Crowd(gateway.address, SLOW, request, pace=1) as crowd:
            crowd.run_until(lambda: gauge(gateway, "connections")["state"] == "stopped", "it accepts nobody")
            assert gauge(gateway, "connections")["used"] <= places
            crowd.run_until(lambda: not crowd.socks, "all were let go")
            assert set(crowd.statuses()) <= {408, None}, "nobody of them was served"
        print(f"back to normal after {wait_served(gateway, '/'):.3f} s")
        wait_calm(gateway, "connections")
        wait.until(lambda: sockets(worker) <= before + 2, "descriptors came back")
        print(f"{memory} bytes before, {process.resident_bytes(worker)} after")
        wait.until(lambda: process.resident_bytes(worker) < memory + (64 if wait.SANITIZED else 16) * MIB, "memory came back")
        assert gateway.workers() == [worker]

# SPDX-License-Identifier: MIT
"""Active health checks: one process asks for all, endpoints that are not well get no requests, and come back."""

import contextlib
import os
import signal
import socket
import subprocess

import pytest

from support import http2, program, wait
from support.gateway import Folder, Gateway, run
from support.metrics import Metrics
from support.tls import Authority, TlsUpstream
from support.upstream import Upstream, describe, free_address

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = WORKERS,
  drain = "1h",
  explain = { token = "a token of many letters" },
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { UPSTREAM } },
  routes = { { match = {}, upstream = "origin" } },
}
"""

OFTEN = 'interval = "20ms", jitter = "0%"'


def config(upstream, workers=1):
    return CONFIG.replace("WORKERS", str(workers)).replace("UPSTREAM", upstream)


class Patient(Upstream):
    """An upstream whose checks (requests to /healthz) are answered as the test says, and kept apart from other requests."""

    def __init__(self, name):
        self.checks = []
        self.check = lambda wire: wire.respond(200)
        super().__init__(name, answer=self.decide)

    def decide(self, wire, request):
        if not request.target.startswith("/healthz"):
            describe(wire, request)
            return
        wire.read_request_body(request)
        self.checks.append(request)
        self.check(wire)

    @property
    def served(self):
        return sum(not target.startswith("/healthz") for target in self.targets)


def ail(wire):
    wire.respond(503, body=b"ill")


@contextlib.contextmanager
def serving(health, workers=1, more="", **options):
    """A gateway before three upstreams that are checked at /healthz."""
    with contextlib.ExitStack() as stack:
        upstreams = [stack.enter_context(Patient(name)) for name in "abc"]
        endpoints = ", ".join(f'"{upstream.address}"' for upstream in upstreams)
        text = f'endpoints = {{ {endpoints} }}, health = {{ {health} }}, {more}'
        gateway = stack.enter_context(Gateway(config(text, workers), **options).wait_ready())
        yield gateway, upstreams


def endpoints(gateway):
    upstream, = gateway.ask_json("/upstreams")
    return {endpoint["address"]: endpoint for endpoint in upstream["endpoints"]}


def wait_state(gateway, address, state):
    def find():
        endpoint = endpoints(gateway).get(address)
        return endpoint and endpoint["state"] == state and endpoint.get("health", {}).get("checks", 0) > 0 and endpoint

    return wait.until(find, f"{address} was {state}")


def wait_checked(gateway, more=3):
    """Waits until every endpoint was checked that often again."""
    before = {address: endpoint["health"]["checks"] for address, endpoint in endpoints(gateway).items()}
    wait.until(lambda: all(endpoint["health"]["checks"] >= before[address] + more for address, endpoint in endpoints(gateway).items()),
               "the endpoints were checked")


def statuses(gateway, requests=12):
    return [gateway.get("/").status for _ in range(requests)]


# ---------------------------------------------------------------- who is used


def test_an_endpoint_that_is_not_well_gets_no_requests_until_it_is():
    with serving('path = "/healthz", ' + OFTEN) as (gateway, (sick, *others)):
        wait_state(gateway, sick.address, "healthy")
        assert set(statuses(gateway)) == {200}
        assert sick.served == 4
        sick.check = ail
        endpoint = wait_state(gateway, sick.address, "unhealthy")
        assert endpoint["reason"] == endpoint["health"]["last"] == "http 503"
        assert endpoint["health"]["failed"] >= 3
        assert 0 <= endpoint["health"]["next_in_s"] <= 0.02
        wait.until(lambda: f"upstream origin: {sick.address} is unhealthy (http 503)" in gateway.errors, "the log says so")
        assert set(statuses(gateway)) == {200}
        assert sick.served == 4
        assert all(other.served == 10 for other in others)
        sick.check = lambda wire: wire.respond(200)
        wait_state(gateway, sick.address, "healthy")
        wait.until(lambda: f"upstream origin: {sick.address} is healthy" in gateway.errors, "the log says so")
        statuses(gateway, 3)
        assert sick.served == 5


def test_the_first_check_decides_by_itself():
    nobody = free_address()
    text = f'endpoints = {{ "{nobody}" }}, health = {{ interval = "1h", unhealthy = 100 }}'
    with Gateway(config(text)).wait_ready() as gateway:
        assert wait_state(gateway, nobody, "unhealthy")["health"]["checks"] == 1


def test_endpoints_may_have_to_wait_for_their_first_check():
    with Patient("slow") as slow:
        slow.check = lambda wire: wait.until(lambda: may_answer, "the test allows it") and wire.respond(200)
        may_answer = []
        text = f'endpoints = {{ "{slow.address}" }}, health = {{ path = "/healthz", initial = "unhealthy", timeout = "1h" }}'
        with Gateway(config(text + ', panic_threshold = "0%"')).wait_ready() as gateway:
            wait.until(lambda: slow.checks, "it was asked")
            assert gateway.get("/").status == 503
            assert endpoints(gateway)[slow.address]["reason"] == "not checked yet"
            may_answer.append(True)
            wait_state(gateway, slow.address, "healthy")
            assert gateway.get("/").status == 200


def test_checks_that_cannot_be_answered_say_why():
    nobody = free_address()
    with serving('path = "/healthz", timeout = "50ms", ' + OFTEN) as (gateway, (mute, loud, _)):
        mute.check = lambda wire: None
        loud.check = lambda wire: wire.send(b"220 hello\r\n")
        text = f'endpoints = {{ "{nobody}", "{mute.address}", "{loud.address}" }}, health = {{ path = "/healthz", timeout = "50ms", {OFTEN} }}'
        gateway.reload(config(text))
        for address, reason in ((nobody, "connect failed"), (mute.address, "timeout"), (loud.address, "broken answer")):
            wait.until(lambda: endpoints(gateway)[address].get("reason") == reason, f"{address}: {reason}")
            assert endpoints(gateway)[address]["state"] == "unhealthy"
        metrics = Metrics(gateway.ask("GET", "/metrics").body.decode())
        for result in ("connect", "timeout", "protocol"):
            assert metrics.sum("perigee_upstream_health_checks_total", upstream="origin", result=result) >= 1
        assert metrics.sum("perigee_upstream_endpoints", upstream="origin", state="unhealthy") == 3
        assert statuses(gateway, 3) != [503] * 3  # panic: better some requests fail than all


def test_a_success_brings_back_who_was_ejected():
    with serving('path = "/healthz", ' + OFTEN, more='outlier = { base_ejection_time = "1h", max_ejection_time = "1h" }') as (gateway, (odd, *_)):
        wait_state(gateway, odd.address, "healthy")
        odd.answer = lambda wire, request: odd.decide(wire, request) if request.target == "/healthz" else wire.respond(500)
        wait.until(lambda: endpoints(gateway)[odd.address]["ejections"] > 0 or not statuses(gateway, 3), "it was ejected")
        wait.until(lambda: f"upstream origin: {odd.address} is back, its check succeeded" in gateway.errors, "the log says so")


# ---------------------------------------------------------------- what is asked


def test_the_request_says_what_was_configured():
    health = 'path = "/healthz?deep=1", host = "origin.test", headers = { ["X-Probe"] = "yes" }, expected = { 204, "3xx" }, ' + OFTEN
    with serving(health) as (gateway, (one, two, three)):
        one.check = lambda wire: wire.respond(302)
        two.check = lambda wire: wire.send_head(204)
        wait_state(gateway, one.address, "healthy")
        wait_state(gateway, two.address, "healthy")
        assert wait_state(gateway, three.address, "unhealthy")["reason"] == "http 200"
        request = one.checks[0]
        assert (request.method, request.target) == ("GET", "/healthz?deep=1")
        assert request.headers.get("host") == "origin.test"
        assert request.headers.get("x-probe") == "yes"
        assert request.headers.get("user-agent") == "perigee-health-check"


def test_endpoints_may_be_checked_elsewhere():
    with serving('path = "/healthz", ' + OFTEN) as (gateway, (served, checked, other)):
        checked.check = ail
        port = checked.address.rpartition(":")[2]
        text = f'endpoints = {{ {{ "{served.address}", health = {{ port = {port}, path = "/healthz/served" }} }}, "{other.address}" }}, '
        gateway.reload(config(text + f'health = {{ path = "/healthz", {OFTEN} }}'))
        assert wait_state(gateway, served.address, "unhealthy")["health"]["port"] == int(port)
        assert "/healthz/served" in {request.target for request in checked.checks}
        assert {request.headers.get("host") for request in checked.checks if request.target == "/healthz/served"} == {checked.address}


def test_unix_sockets_are_checked(tmp_path):
    with Upstream(address=f"unix:{tmp_path}/origin.sock") as origin:
        with Gateway(config(f'endpoints = {{ "{origin.address}" }}, health = {{ {OFTEN} }}')).wait_ready() as gateway:
            wait_state(gateway, origin.address, "healthy")
            assert origin.heads[0].headers.get("host") == "localhost"


def test_a_connection_is_enough_for_tcp():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "127.0.0.1:%d" % server.getsockname()[1]
        nobody = free_address()
        text = f'endpoints = {{ "{address}", "{nobody}" }}, health = {{ type = "tcp", {OFTEN} }}'
        with Gateway(config(text)).wait_ready() as gateway:
            wait_state(gateway, address, "healthy")
            assert wait_state(gateway, nobody, "unhealthy")["reason"] == "connect failed"
            sock, _ = server.accept()
            sock.settimeout(wait.PATIENCE)
            assert sock.recv(1) == b""  # nothing but the connection
            sock.close()


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_upstreams_with_tls_are_checked_over_tls(authority, kind):
    site = authority.issue("localhost", "IP:127.0.0.1")
    other = Authority("other")
    try:
        with TlsUpstream(site) as origin:
            text = f'endpoints = {{ "{origin.address}" }}, tls = {{ ca = "ca.pem" }}, health = {{ type = "{kind}", {OFTEN} }}'
            with Gateway(config(text), files={"ca.pem": authority.cert, "other.pem": other.cert}).wait_ready() as gateway:
                wait_state(gateway, origin.address, "healthy")
                gateway.reload(config(text.replace("ca.pem", "other.pem")))
                reason = wait_state(gateway, origin.address, "unhealthy")["reason"]
                assert reason == ("tls failed" if kind == "http" else "connect failed")
    finally:
        other.remove()


# ---------------------------------------------------------------- HTTP/2 and gRPC


def test_http_2_is_spoken_with_whom_it_is_spoken_otherwise():
    status = ["200"]

    def answer(stream):
        stream.wait_end().send_head([(":status", status[0])], ends=True)

    with http2.Upstream(answer) as origin:
        text = f'endpoints = {{ "{origin.address}" }}, protocol = "h2c", health = {{ path = "/healthz", {OFTEN} }}'
        with Gateway(config(text)).wait_ready() as gateway:
            wait_state(gateway, origin.address, "healthy")
            status[0] = "503"
            assert wait_state(gateway, origin.address, "unhealthy")["reason"] == "http 503"
            assert origin.sessions[0].streams[1].pseudo(":path") == "/healthz"
            wait.until(lambda: origin.sessions[0].is_closed, "the connection of a check ends with it")
        assert not origin.failures


def serving_message(number):
    return b"\0\0\0\0\2\x08" + bytes([number])


@pytest.mark.parametrize("head, body, trailers, reason", [
    ("200", serving_message(2), [("grpc-status", "0")], "not serving"),
    ("200", b"\0\0\0\0\0", [("grpc-status", "0")], "not serving"),
    ("200", b"", [("grpc-status", "14")], "grpc 14"),
    ("200", serving_message(1) + b"x", [("grpc-status", "0")], "broken answer"),
    ("200", b"\0" * 100, [("grpc-status", "0")], "broken answer"),
    ("200", serving_message(1), [("x", "y")], "broken answer"),
    ("404", b"", [], "http 404"),
])
def test_answers_of_grpc_that_are_no_success(head, body, trailers, reason):
    def answer(stream):
        stream.wait_end().send_head([(":status", head), ("content-type", "application/grpc")])
        stream.send(body, ends=not trailers)
        if trailers:
            stream.end(trailers)

    with http2.Upstream(answer) as origin:
        text = f'endpoints = {{ "{origin.address}" }}, health = {{ type = "grpc", service = "shop.Cart", timeout = "9s", {OFTEN} }}'
        with Gateway(config(text)).wait_ready() as gateway:
            assert wait_state(gateway, origin.address, "unhealthy")["reason"] == reason
            stream = origin.sessions[0].streams[1]
            assert stream.pseudo(":method") == "POST"
            assert stream.pseudo(":path") == "/grpc.health.v1.Health/Check"
            assert stream.headers.get("content-type") == "application/grpc"
            assert stream.headers.get("te") == "trailers"
            assert stream.headers.get("grpc-timeout")
            assert bytes(stream.body) == b"\0\0\0\0\x0b\x0a\x09shop.Cart"
        assert not origin.failures


@pytest.fixture(scope="module")
def health_server():
    """A server with grpc-go's health service."""
    return program.build_go("grpc_health_server", "./health", "spec/grpc")


@pytest.mark.parametrize("is_secure", [False, True])
def test_the_health_service_of_grpc_go_is_understood(health_server, authority, is_secure):
    site = authority.issue("localhost", "IP:127.0.0.1")
    options = ["-cert", site.cert_file, "-key", site.key_file] if is_secure else []
    server = subprocess.Popen([health_server, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(line):
        server.stdin.write(line + "\n")
        server.stdin.flush()
        assert server.stdout.readline() == line + "\n"

    try:
        address = server.stdout.readline().strip()
        text = f'endpoints = {{ "{address}" }}, health = {{ type = "grpc", service = "shop", {OFTEN} }}'
        text += ', tls = { ca = "ca.pem" }' if is_secure else ""
        with Gateway(config(text), files={"ca.pem": authority.cert}).wait_ready() as gateway:
            assert wait_state(gateway, address, "unhealthy")["reason"] == "grpc 5"  # nobody knows the service
            tell("SERVING shop")
            wait_state(gateway, address, "healthy")
            tell("NOT_SERVING shop")
            assert wait_state(gateway, address, "unhealthy")["reason"] == "not serving"
            gateway.reload(config(text.replace(', service = "shop"', "")))
            wait_state(gateway, address, "healthy")  # the server itself serves
    finally:
        server.kill()
        server.wait()
        server.stdin.close()
        server.stdout.close()


# ---------------------------------------------------------------- workers, reloads, the end


def test_one_worker_checks_for_all():
    with serving('path = "/healthz", interval = "1h"', workers=4) as (gateway, upstreams):
        for upstream in upstreams:
            assert wait_state(gateway, upstream.address, "healthy")["health"]["checks"] == 1
        for pid in gateway.workers():  # one of them checks
            os.kill(pid, signal.SIGKILL)
            gateway.wait_replaced(pid)
        gateway.reload()
        assert set(statuses(gateway)) == {200}
        assert [len(upstream.checks) for upstream in upstreams] == [1, 1, 1]  # an hour is an hour, whoever looks at the clock


def test_checks_of_all_workers_are_those_of_one():
    with serving('path = "/healthz", ' + OFTEN, workers=4) as (gateway, upstreams):
        wait_state(gateway, upstreams[0].address, "healthy")
        wait_checked(gateway, 30)
        upstreams[0].check = ail
        wait_state(gateway, upstreams[0].address, "unhealthy")
        assert set(statuses(gateway, 40)) == {200}  # all of them know
        counted = endpoints(gateway)[upstreams[0].address]["health"]["checks"]
        assert 0 <= len(upstreams[0].checks) - counted <= 2  # another worker's checks would come on top


def test_another_worker_goes_on_when_the_one_that_checks_dies():
    with serving('path = "/healthz", ' + OFTEN, workers=2) as (gateway, (sick, *_)):
        for pid in gateway.workers():  # one of them checks
            sick.check = ail
            wait_state(gateway, sick.address, "unhealthy")
            os.kill(pid, signal.SIGKILL)
            gateway.wait_replaced(pid)
            assert endpoints(gateway)[sick.address]["state"] == "unhealthy"
            sick.check = lambda wire: wire.respond(200)
            wait_state(gateway, sick.address, "healthy")


def test_what_is_known_outlives_a_reload_and_ends_with_the_setting():
    with serving('path = "/healthz", interval = "1h", unhealthy = 1') as (gateway, (sick, *others)):
        wait_state(gateway, sick.address, "healthy")
        sick.check = ail
        text = ", ".join(f'"{upstream.address}"' for upstream in (sick, *others))
        gateway.reload(config(f'endpoints = {{ {text} }}, health = {{ path = "/healthz", interval = "20ms", unhealthy = 1 }}'))
        wait_state(gateway, sick.address, "unhealthy")
        gateway.reload(config(f'endpoints = {{ {text} }}, health = {{ path = "/healthz", interval = "1h", unhealthy = 1 }}'))
        assert endpoints(gateway)[sick.address]["state"] == "unhealthy"
        gateway.reload(config(f"endpoints = {{ {text} }}, outlier = {{}}"))
        wait.until(lambda: endpoints(gateway)[sick.address]["state"] == "healthy", "it was used again")


def test_endpoints_that_are_discovered_are_checked():
    with contextlib.ExitStack() as stack:
        first, second = stack.enter_context(Patient("first")), stack.enter_context(Patient("second"))
        second.check = ail
        files = Folder()
        stack.callback(files.remove)
        path = files.write("endpoints.json", f'["{first.address}"]')
        gateway = stack.enter_context(Gateway(config(f'file = "{path}", health = {{ path = "/healthz", {OFTEN} }}', workers=2)).wait_ready())
        wait_state(gateway, first.address, "healthy")
        files.write("next.json", f'["{first.address}", "{second.address}"]').rename(path)
        assert wait_state(gateway, second.address, "unhealthy")["reason"] == "http 503"
        assert set(statuses(gateway)) == {200}
        assert second.served == 0
        files.write("next.json", f'["{second.address}"]').rename(path)
        wait.until(lambda: first.address not in endpoints(gateway), "it was gone")
        count = len(first.checks)
        wait_checked(gateway, 5)
        assert len(first.checks) <= count + 2  # the workers take notice one after the other


def test_a_check_without_an_answer_holds_nothing_back():
    with serving('path = "/healthz", timeout = "1h", interval = "1h"') as (gateway, (mute, *_)):
        wait_state(gateway, mute.address, "healthy")
        mute.check = lambda wire: None
        text = f'endpoints = {{ "{mute.address}" }}, health = {{ path = "/healthz", timeout = "1h", interval = "20ms", jitter = "0%" }}'
        gateway.reload(config(text))
        wait.until(lambda: len(mute.checks) == 2, "it was asked")
        gateway.reload()
        assert gateway.get("/").status == 200
        gateway.signal()
        assert gateway.wait_exit() == 0  # long before the hour of the drain or of the check


def test_who_drains_checks_no_more():
    with serving('path = "/healthz", ' + OFTEN, workers=2) as (gateway, upstreams):
        wait_checked(gateway)
        with gateway.connect() as held:
            held.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
            wait.until(lambda: any(upstream.served for upstream in upstreams), "the request was on its way")
            gateway.signal()
            wait.until(lambda: not gateway_accepts(gateway), "nobody accepts any more")
            count = len(upstreams[0].checks)
            held.send(b"b")
            assert held.read_response().status == 200
        assert gateway.wait_exit() == 0
        assert len(upstreams[0].checks) <= count + 1  # one may have been under way


def gateway_accepts(gateway):
    try:
        gateway.connect().close()
    except OSError:
        return False
    return True


# ---------------------------------------------------------------- what people see


def test_explain_names_who_was_left_out():
    with serving('path = "/healthz", ' + OFTEN) as (gateway, (sick, *_)):
        sick.check = ail
        wait_state(gateway, sick.address, "unhealthy")
        answer = gateway.get("/", [("x-perigee-explain", "a token of many letters")])
        assert f"round_robin among 2 of 3 endpoints; {sick.address} is unhealthy (http 503)" in answer.headers.get("x-perigee-explain")


def test_check_says_what_has_no_effect(tmp_path):
    path = tmp_path / "gateway.lua"
    path.write_text('return { upstreams = { u = { endpoints = { "a:1" }, health = { type = "tcp", path = "/" } } }, routes = {} }')
    result = run("check", path)
    assert result.returncode == 1
    assert 'upstreams.u.health.path: has no effect with type "tcp"' in result.stdout + result.stderr

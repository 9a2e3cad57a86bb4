# SPDX-License-Identifier: MIT
"""HTTP/2 with clients and with upstreams, as real programs speak it, and the conformance tests of h2spec."""

import re
import subprocess

import pytest

from support import program, wait
from support.gateway import Gateway
from support.upstream import Seen

MIB = 1024 * 1024

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = WORKERS,
  listeners = {
    { address = "127.0.0.1:0" },
    { address = "127.0.0.1:0", tls = { cert = "site.pem", key = "site.key" } },
  },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = {
    { name = "fixed", match = { path = "/fixed" }, reply = "fixed" },
    { name = "version", match = { path = "/version" }, handler = function(req)
      return reply(200, req.scheme .. " " .. req.host .. " " .. tostring(req.query)) end },
    { name = "body", match = { path = "/" }, handler = function(req) return reply(200, "got " .. #(req.body:read(1048576) or "")) end },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""

# A gateway that speaks to the one above, in HTTP/2.
FRONT = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = {
    clear = { endpoints = { "$clear" }, protocol = "h2c" },
    secure = { endpoints = { "$secure" }, protocol = "h2", tls = { ca = "ca.pem" } },
    agreed = { endpoints = { "$secure" }, tls = { ca = "ca.pem" } },
    first = { endpoints = { "$secure" }, protocol = "h1", tls = { ca = "ca.pem" } },
  },
  routes = {
    { name = "clear", match = { path = "/clear/*" }, rewrite = { prefix = "/" }, upstream = "clear" },
    { name = "secure", match = { path = "/secure/*" }, rewrite = { prefix = "/" }, upstream = "secure" },
    { name = "agreed", match = { path = "/agreed/*" }, rewrite = { prefix = "/" }, upstream = "agreed" },
    { name = "first", match = { path = "/first/*" }, rewrite = { prefix = "/" }, upstream = "first" },
  },
}
"""


@pytest.fixture(scope="module")
def site(authority):
    return authority.issue("localhost", "IP:127.0.0.1")


@pytest.fixture(scope="module")
def gateway(origin, site):
    with Gateway(CONFIG.replace("WORKERS", "1"), files={"site.pem": site.cert, "site.key": site.key}, values={"origin": origin.address}) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def front(gateway, authority):
    values = {"clear": gateway.addresses[0], "secure": gateway.addresses[1]}
    with Gateway(FRONT, files={"ca.pem": authority.cert}, values=values) as front:
        yield front


def call(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, timeout=3 * wait.PATIENCE, check=False, **options)
    assert done.returncode == 0, done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    return done.stdout.decode()


# ---------------------------------------------------------------- clients


@pytest.fixture
def fetch(curl, gateway, authority):
    """curl over HTTP/2, in the clear or with TLS: fetch("/path", is_secure, options…)."""
    def fetch(path, is_secure, *options):
        kind = ["--http2", "--cacert", authority.cert_file] if is_secure else ["--http2-prior-knowledge"]
        url = f"{'https' if is_secure else 'http'}://{gateway.addresses[is_secure]}{path}"
        return call(curl, "-sS", *kind, *options, url)

    return fetch


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_request_of_http_2_is_served(fetch, gateway, is_secure):
    assert fetch("/fixed", is_secure, "-w", " %{http_version}") == "fixed 2"
    scheme = "https" if is_secure else "http"
    assert fetch("/version?a=1", is_secure).startswith(f"{scheme} 127.0.0.1")


def test_one_port_serves_both_versions(gateway, fetch):
    assert fetch("/fixed", False, "-w", " %{http_version}") == "fixed 2"
    assert gateway.get("/fixed").text() == "fixed"


def test_a_preface_in_single_bytes_is_read(gateway):
    with gateway.connect() as client:
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0":
            client.send(bytes([byte]))
        assert client.read_exactly(9)[3] == 4  # SETTINGS


@pytest.mark.parametrize("is_secure", [False, True])
def test_bodies_are_passed_to_an_upstream_of_http_1(fetch, folder, is_secure):
    path = folder.write("body", "x" * MIB)
    seen = fetch("/echo", is_secure, "--data-binary", f"@{path}")
    assert f'"length": {MIB}' in seen
    assert '"version": "1.1"' in seen


def test_a_head_is_passed_on_as_http_1_has_it(fetch, origin):
    fetch("/echo?x=y", True, "-H", "X-One: 1", "-H", "Cookie: a=b; c=d", "-H", "TE: trailers")
    head = origin.heads[-1]
    assert (head.method, head.target, head.version) == ("GET", "/echo?x=y", "1.1")
    assert head.headers.get("x-one") == "1"
    assert head.headers.get("cookie") == "a=b; c=d"
    assert head.headers.get("x-forwarded-proto") == "https"
    assert not any(name.startswith(":") for name in head.headers.names())


@pytest.mark.parametrize("status", [204, 304, 404, 503])
def test_the_status_of_the_upstream_arrives(fetch, origin, status):
    origin.answer = lambda wire, request: wire.send_head(status, [("Content-Length", "0")] if status >= 400 else [])
    assert fetch("/status", False, "-o", "/dev/null", "-w", "%{http_code}") == str(status)


def test_requests_share_a_connection(gateway, fetch, origin):
    program.need("h2load")
    report = call("h2load", "-n", 500, "-c", 2, "-m", 100, f"http://{gateway.addresses[0]}/fixed")
    assert "500 succeeded, 0 failed, 0 errored, 0 timeout" in report


def test_nghttp_is_served_over_tls(gateway):
    report = call(program.need("nghttp"), "-v", "--no-verify-peer", f"https://{gateway.addresses[1]}/fixed")
    assert "The negotiated protocol: h2" in report
    assert ":status: 200" in report


def test_streams_survive_reloads(origin, launch, site, curl, authority):
    gateway = launch(CONFIG.replace("WORKERS", "2"), files={"site.pem": site.cert, "site.key": site.key}, values={"origin": origin.address})
    gates = []

    def answer(wire, request):
        wire.send_head(200, [("Content-Length", "8")])
        wire.send(b"half")
        gates.append(wire)

    origin.answer = answer
    command = [curl, "-sS", "--http2", "--cacert", authority.cert_file, f"https://{gateway.addresses[1]}/slow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        wait.until(lambda: gates, "the upstream had the request")
        gateway.reload()
        gateway.reload()
        gates[0].send(b"done")
        assert running.stdout.read() == b"halfdone"


def test_a_drain_lets_streams_finish(origin, launch, site, curl):
    gateway = launch(CONFIG.replace("WORKERS", "1"), files={"site.pem": site.cert, "site.key": site.key}, values={"origin": origin.address})
    gates = []

    def answer(wire, request):
        wire.send_head(200, [("Content-Length", "8")])
        wire.send(b"half")
        gates.append(wire)

    origin.answer = answer
    command = [curl, "-sS", "--http2-prior-knowledge", f"http://{gateway.addresses[0]}/slow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        wait.until(lambda: gates, "the upstream had the request")
        gateway.signal()
        wait.until(lambda: "draining" in gateway.errors, "the gateway drained")
        gates[0].send(b"done")
        assert running.stdout.read() == b"halfdone"
    gateway.stop()


# ---------------------------------------------------------------- upstreams


@pytest.mark.parametrize("way", ["clear", "secure", "agreed", "first"])
def test_upstreams_are_spoken_to_in_their_protocol(front, origin, way):
    seen = Seen(front.request("POST", f"/{way}/echo", body=b"y" * MIB))
    assert (seen.length, seen.target) == (MIB, "/echo")


@pytest.mark.parametrize("way", ["clear", "secure", "agreed"])
def test_requests_to_an_upstream_share_a_connection(front, gateway, origin, way):
    assert front.get(f"/{way}/fixed").text() == "fixed"
    before = accepted(gateway)
    for _ in range(20):
        assert front.get(f"/{way}/fixed").text() == "fixed"
    assert accepted(gateway) == before


def accepted(gateway):
    text = gateway.ask("GET", "/metrics").text()
    return int(re.search(r"^perigee_connections_total (\d+)$", text, re.M).group(1))


def test_a_large_response_comes_through_two_gateways(front, origin):
    origin.answer = lambda wire, request: wire.respond(200, body=b"z" * MIB)
    for way in ("clear", "secure", "agreed", "first"):
        assert len(front.get(f"/{way}/large").body) == MIB


# ---------------------------------------------------------------- conformance


@pytest.fixture(scope="module")
def h2spec():
    return program.build_go("h2spec", "github.com/summerwind/h2spec/cmd/h2spec", "spec/h2spec")


@pytest.mark.parametrize("is_secure", [False, True])
def test_h2spec_finds_nothing_in_its_strict_mode(h2spec, gateway, is_secure):
    host, _, port = gateway.addresses[is_secure].rpartition(":")
    command = [h2spec, "--strict", "-h", host, "-p", port, *(["-t", "-k"] if is_secure else [])]
    report = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20 * wait.PATIENCE).stdout
    assert re.search(r"^(\d+) tests, \1 passed, 0 skipped, 0 failed", report, re.M), report[report.find("Failures:"):]
    assert int(re.search(r"^(\d+) tests", report, re.M).group(1)) >= 146

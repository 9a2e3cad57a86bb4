# SPDX-License-Identifier: MIT
"""PROXY protocol from proxies in front: who the client is then, whom it is believed of, and what ends a connection."""

import contextlib
import socket
import ssl
import subprocess

import pytest

from support import client, http1, program, wait
from support.gateway import Gateway, run
from support.metrics import Metrics
from support.tls import client_context

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.9 198.51.100.7 51234 443\r\n"
REQUEST = b"GET /who HTTP/1.1\r\nHost: gateway.test\r\n\r\n"

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = {
    { address = "127.0.0.1:0", proxy_protocol = { from = { "127.0.0.1", "::1" } } },
    { address = "127.0.0.1:0", proxy_protocol = { from = { "10.0.0.0/8" } } },
    { address = "unix:$dir/front.sock", proxy_protocol = { from = { "unix" } } },
    { address = "127.0.0.1:0", proxy_protocol = { from = { "127.0.0.0/8" } }, tls = { cert = "site.pem", key = "site.key" } },
    { address = "127.0.0.1:0", proxy_protocol = { from = { "127.0.0.0/8" } }, timeouts = { headers = "200ms" } },
  },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = {
    { name = "who", match = { path = "/who" }, handler = function(req)
        return reply(200, ("%s %d"):format(req.client.ip, req.client.port))
    end },
    { name = "inside", match = { path = "/inside" }, policies = { { "ip_restriction", allow = { "203.0.113.0/24" } } },
      reply = "inside" },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""

TRUSTED, OTHERS, UNIX, TLS, HURRIED = range(5)


def v2(source, destination, ports=(51234, 443), tlvs=b"", command=0x21):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    block = addresses + b"".join(port.to_bytes(2, "big") for port in ports) + tlvs
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    return SIGNATURE + bytes([command, kind]) + len(block).to_bytes(2, "big") + block


@pytest.fixture(scope="module")
def gateway(origin, authority):
    site = authority.issue("site.test")
    files = {"site.pem": site.cert, "site.key": site.key}
    with Gateway(CONFIG, files=files, values={"origin": origin.address}) as started:
        yield started


def ask(gateway, data, listener=TRUSTED):
    """What is answered to these bytes."""
    with gateway.connect(listener) as connection:
        connection.send(data)
        return connection.read_response().text()


def refused(gateway):
    return Metrics(gateway.ask("GET", "/metrics").text()).sum("perigee_proxy_protocol_refused_total")


def check_closed(gateway, data, listener=TRUSTED):
    """The connection ends without an answer, and is counted."""
    before = refused(gateway)
    with gateway.connect(listener) as connection:
        with contextlib.suppress(OSError):
            connection.send(data)
        assert connection.read_rest() == b""
    wait.until(lambda: refused(gateway) == before + 1, "the connection was counted")


# ---------------------------------------------------------------- who the client is

def test_the_client_is_who_the_header_says(gateway):
    assert ask(gateway, V1 + REQUEST) == "203.0.113.9 51234"
    assert ask(gateway, v2("203.0.113.10", "198.51.100.7") + REQUEST) == "203.0.113.10 51234"
    assert ask(gateway, v2("2001:db8::5", "2001:db8::6", (1, 2)) + REQUEST) == "2001:db8::5 1"
    assert ask(gateway, v2("::ffff:203.0.113.11", "::1") + REQUEST) == "203.0.113.11 51234"
    assert ask(gateway, v2("203.0.113.12", "198.51.100.7", tlvs=b"\x02\x00\x09site.test\x04\x00\x00") + REQUEST) == "203.0.113.12 51234"


def test_curl_speaks_to_it(gateway, curl):
    url = f"http://{gateway.addresses[TRUSTED]}/who"
    command = [curl, "-sS", "-w", "\n%{local_port}", "--haproxy-protocol", url]
    answer, port = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    assert answer == f"127.0.0.1 {port}"


def test_a_header_may_come_byte_by_byte(gateway):
    with gateway.connect(TRUSTED) as connection:
        for byte in v2("203.0.113.9", "198.51.100.7") + REQUEST:
            connection.send(bytes([byte]))
        assert connection.read_response().text() == "203.0.113.9 51234"
        assert connection.get("/who").text() == "203.0.113.9 51234"


def test_upstreams_and_policies_see_that_client(gateway, origin):
    with gateway.connect(TRUSTED) as connection:
        connection.send(V1)
        assert connection.get("/inside").text() == "inside"
        connection.get("/any", [("X-Forwarded-For", "192.0.2.99")])
    assert origin.heads[-1].headers.all("x-forwarded-for") == ["203.0.113.9"]
    with gateway.connect(TRUSTED) as connection:
        connection.send(v2("192.0.2.1", "198.51.100.7"))
        assert connection.get("/inside").status == 403


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\x00\x00\x00",
                                    v2("203.0.113.9", "198.51.100.7", command=0x20), SIGNATURE + b"\x21\x00\x00\x00"])
def test_a_header_without_addresses_leaves_those_of_the_connection(gateway, header):
    with gateway.connect(TRUSTED) as connection:
        connection.send(header + REQUEST)
        assert connection.read_response().text() == "127.0.0.1 %d" % connection.sock.getsockname()[1]


def test_the_header_comes_before_tls(gateway, authority):
    with gateway.connect(TLS) as connection:
        connection.send(V1)
        context = client_context(authority)
        with context.wrap_socket(connection.sock, server_hostname="site.test") as sock:
            wire = http1.Wire(sock)
            wire.send(REQUEST)
            assert wire.read_body(wire.read_head()).text() == "203.0.113.9 51234"


def test_the_first_bytes_of_tls_may_come_with_the_header(gateway, authority):
    """A proxy may put the ClientHello behind its header into one segment."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(authority).wrap_bio(incoming, outgoing, server_hostname="site.test")

    def until_done(step, connection, first=b""):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                connection.send(first + outgoing.read())
                first = b""
                incoming.write(connection.read_some())

    with gateway.connect(TLS) as connection:
        until_done(tls.do_handshake, connection, V1)
        tls.write(REQUEST)
        assert until_done(lambda: tls.read(65536), connection).endswith(b"203.0.113.9 51234")


def test_http2_follows_a_header(gateway, curl):
    url = f"http://{gateway.addresses[TRUSTED]}/who"
    command = [curl, "-sS", "-w", "\n%{http_version} %{local_port}", "--http2-prior-knowledge", "--haproxy-protocol", url]
    answer, facts = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")
    version, port = facts.split()
    assert (answer, version) == (f"127.0.0.1 {port}", "2")


def test_a_unix_socket_can_be_trusted(gateway):
    assert ask(gateway, V1 + REQUEST, UNIX) == "203.0.113.9 51234"


# ---------------------------------------------------------------- whom it is believed of

def test_others_are_served_without_a_header(gateway):
    assert ask(gateway, REQUEST, OTHERS).startswith("127.0.0.1 ")


@pytest.mark.parametrize("header", [V1, v2("203.0.113.9", "198.51.100.7")])
def test_a_header_of_others_is_believed_of_nobody(gateway, origin, header):
    with gateway.connect(OTHERS) as connection:
        connection.send(header + b"GET /any HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
        answer = connection.read_rest()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert origin.heads == []


def test_a_second_header_is_no_request(gateway):
    with gateway.connect(TRUSTED) as connection:
        connection.send(V1 + b"PROXY TCP4 10.0.0.1 198.51.100.7 51234 443\r\n" + REQUEST)
        answer = connection.read_rest()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


# ---------------------------------------------------------------- what ends a connection

@pytest.mark.parametrize("data", [
    REQUEST,
    V1.replace(b"443", b"65536") + REQUEST,
    V1.replace(b"\r\n", b"\n") + REQUEST,
    b"PROXY UNKNOWN " + b"x" * 200,
    SIGNATURE + b"\x21\x11\xff\xff" + b"\0" * 100,
    v2("203.0.113.9", "198.51.100.7", tlvs=b"\x01\xff\xff") + REQUEST,
    SIGNATURE + b"\x31\x11\x00\x0c" + b"\0" * 12,
    b"\x16\x03\x01\x00\x05\x01",
], ids=["none", "port", "line-end", "endless", "65535", "tlv", "version", "tls"])
def test_a_trusted_proxy_without_a_valid_header_is_closed(gateway, data):
    check_closed(gateway, data)


def test_a_header_that_ends_early_is_no_header(gateway):
    before = refused(gateway)
    with gateway.connect(TRUSTED) as connection:
        connection.send(V1[:20])
        connection.sock.shutdown(socket.SHUT_WR)
        assert connection.read_rest() == b""
    wait.until(lambda: refused(gateway) == before + 1, "the connection was counted")


def test_a_header_has_its_time(gateway):
    check_closed(gateway, V1[:20], HURRIED)
    check_closed(gateway, b"", HURRIED)


def test_a_proxy_that_only_connects_is_no_failure(gateway):
    before = refused(gateway)
    for _ in range(3):
        gateway.connect(TRUSTED).close()
    assert ask(gateway, V1 + REQUEST) == "203.0.113.9 51234"
    assert refused(gateway) == before


# ---------------------------------------------------------------- changes, mistakes

def test_a_reload_changes_whom_it_is_believed_of_and_drops_no_connection(launch):
    config = """
    return {
      admin = "unix:$dir/admin.sock", access_log = "off", workers = 1,
      listeners = { { address = "127.0.0.1:0", proxy_protocol = SETTING } },
      routes = { { match = {}, handler = function(req) return reply(200, req.client.ip) end } },
    }
    """
    gateway = launch(config.replace("SETTING", '{ from = { "127.0.0.1" } }'))
    with gateway.connect() as early:
        early.send(V1)
        assert early.get("/").text() == "203.0.113.9"
        assert gateway.reload(config.replace("SETTING", "nil")).returncode == 0
        assert gateway.get("/").text() == "127.0.0.1"
        assert early.get("/").text() == "203.0.113.9"


def test_mistakes_in_the_setting_are_named(folder):
    path = folder.write("gateway.lua", """return {
      listeners = {
        { address = "127.0.0.1:1", proxy_protocol = { from = { "10.0.0.1/8", "lb.example" } } },
        { address = "127.0.0.1:2", proxy_protocol = {} },
      },
      routes = { { reply = "ok" } },
    }""")
    result = run("check", path)
    assert result.returncode == 1
    assert "listeners[1].proxy_protocol.from[1]: '10.0.0.1/8' has bits set" in result.stderr
    assert "listeners[1].proxy_protocol.from[2]: 'lb.example' is not an IP address" in result.stderr
    assert "listeners[2].proxy_protocol.from: is required" in result.stderr


# ---------------------------------------------------------------- a real proxy in front

HAPROXY = """
global
    stats socket $dir/haproxy.sock mode 600
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen text
    bind unix@$dir/v1.sock
    server perigee $address send-proxy check inter 50ms
listen binary
    bind unix@$dir/v2.sock
    bind fd@$listener
    server perigee $address send-proxy-v2 proxy-v2-options unique-id,crc32c,authority check inter 50ms
"""


def haproxy_says(path, command):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


@pytest.fixture
def haproxy(gateway, folder):
    """HAProxy in front of the gateway: its folder and its TCP address."""
    path = program.need("haproxy")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = folder.write("haproxy.cfg", HAPROXY, address=gateway.addresses[TRUSTED], listener=listener.fileno())
        running = subprocess.Popen([path, "-q", "-db", "-f", str(config)], pass_fds=[listener.fileno()])
        wait.until((folder.path / "haproxy.sock").exists, "haproxy listens")
        yield folder.path, "127.0.0.1:%d" % listener.getsockname()[1]
        running.terminate()
        running.wait(timeout=wait.PATIENCE)


def test_clients_of_haproxy_keep_their_addresses(haproxy):
    path, address = haproxy
    with client.Client(address) as connection:
        for _ in range(2):
            assert connection.get("/who").text() == "127.0.0.1 %d" % connection.sock.getsockname()[1]
    for name in ("v1.sock", "v2.sock"):  # clients without an address: the connection's own counts
        assert client.get(f"unix:{path / name}", "/who").text().startswith("127.0.0.1 ")


def test_health_checks_of_haproxy_are_no_failures(gateway, haproxy):
    before = refused(gateway)
    wait.until(lambda: haproxy_says(haproxy[0] / "haproxy.sock", "show stat -1 4 -1").count(",UP,") == 2, "both servers are up")
    assert refused(gateway) == before

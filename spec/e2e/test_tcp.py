# SPDX-License-Identifier: MIT
"""Listeners that pass TCP on: bytes in both directions, where they go, and what ends a connection."""

import contextlib
import json
import queue
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from support import client, wait
from support.gateway import Gateway, run
from support.metrics import Metrics
from support.redis import Redis
from support.tls import client_context

MEGABYTE = bytes(range(256)) * 4096

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "$dir/access.log",
  workers = 1,
  listeners = {
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "plain" },
    { address = "127.0.0.1:0", protocol = "tcp", sni = { ["a.test"] = "tls_a", ["*.b.test"] = "tls_b" } },
    { address = "127.0.0.1:0", protocol = "tcp", sni = { ["a.test"] = "tls_a" }, upstream = "plain" },
    { address = "127.0.0.1:0", protocol = "tcp", sni = { ["a.test"] = "plain" }, tls = { cert = "site.pem", key = "site.key" } },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "headed1" },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "headed2", proxy_protocol = { from = { "127.0.0.1" } } },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "nobody" },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "mostly_nobody" },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "plain", timeouts = { stream_idle = "200ms" } },
    { address = "127.0.0.1:0", protocol = "tcp", sni = { ["a.test"] = "tls_a" }, timeouts = { headers = "200ms" } },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "plain", limits = { connections = 1 } },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "short_lived" },
    { address = "unix:$dir/front.sock", protocol = "tcp", upstream = "headed2" },
  },
  upstreams = {
    plain = { endpoints = { "$plain" } },
    tls_a = { endpoints = { "$a" } },
    tls_b = { endpoints = { "$b" } },
    headed1 = { endpoints = { "$plain" }, proxy_protocol = "v1" },
    headed2 = { endpoints = { "$plain" }, proxy_protocol = "v2" },
    nobody = { endpoints = { "$nobody" } },
    mostly_nobody = { endpoints = { "$nobody", "$plain" } },
    short_lived = { endpoints = { "$plain" }, timeouts = { stream = "300ms" } },
  },
  routes = {},
}
"""

(PLAIN, SNI, SNI_OR_PLAIN, TERMINATED, HEADED1, HEADED2, NOBODY, MOSTLY_NOBODY, HURRIED, LOOK_HURRIED, ONE, SHORT_LIVED, UNIX) = range(13)


class Server:
    """A server of raw bytes: whoever connects is put into a queue, as a socket with a timeout."""

    def __init__(self, context=None):
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.accepted = queue.Queue()
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.settimeout(wait.PATIENCE)
                with contextlib.suppress(ssl.SSLError, ConnectionError):
                    self.accepted.put(self.context.wrap_socket(sock, server_side=True) if self.context else sock)

    def take(self):
        return self.accepted.get(timeout=wait.PATIENCE)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def server_context(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    return context


@pytest.fixture(scope="module")
def servers(authority):
    made = {"plain": Server(), "a": Server(server_context(authority.issue("a.test"))),
            "b": Server(server_context(authority.issue("x.b.test")))}
    yield made
    for server in made.values():
        server.close()


@pytest.fixture(scope="module")
def gateway(servers, authority):
    site = authority.issue("a.test")
    with socket.create_server(("127.0.0.1", 0)) as closed:  # bound, but closed at once: nobody listens there
        nobody = "127.0.0.1:%d" % closed.getsockname()[1]
    values = {name: server.address for name, server in servers.items()}
    files = {"site.pem": site.cert, "site.key": site.key}
    with Gateway(CONFIG, files=files, values={**values, "nobody": nobody}) as started:
        yield started


def connect(gateway, listener):
    host, port = gateway.addresses[listener].rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=wait.PATIENCE)


@contextlib.contextmanager
def joined(gateway, server, listener=PLAIN, first=b""):
    """A client and the server's socket behind the gateway."""
    with connect(gateway, listener) as ours:
        ours.sendall(first)
        with server.take() as theirs:
            yield ours, theirs


def read_all(sock):
    return b"".join(iter(lambda: sock.recv(65536), b""))


def read_exactly(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        assert part, f"ended after {len(data)} of {count} bytes"
        data += part
    return data


def is_reset(sock):
    """Does the stream end with an error, and not as if it were whole?"""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False


def metric(gateway, name, listener, **labels):
    """A metric of a listener, which is known by the address in the configuration."""
    wanted = {"listener": "127.0.0.1:0" + (f"#{listener + 1}" if listener else ""), **labels}
    samples = Metrics(gateway.ask("GET", "/metrics").text()).samples
    return next(value for found, has, value in samples if found == name and has == wanted)


def last_line(gateway, condition):
    def find():
        lines = [json.loads(line) for line in (gateway.folder.path / "access.log").read_text().splitlines()]
        return next((line for line in reversed(lines) if condition(line)), None)
    return wait.until(find, "the connection was logged")


# ---------------------------------------------------------------- bytes

def test_bytes_pass_in_both_directions(gateway, servers):
    with joined(gateway, servers["plain"]) as (ours, theirs):
        theirs.sendall(b"220 ready\r\n")  # the server may speak first
        assert read_exactly(ours, 11) == b"220 ready\r\n"
        ours.sendall(b"\0HELO\xff")
        assert read_exactly(theirs, 6) == b"\0HELO\xff"


def test_large_bodies_pass_whole_in_both_directions(gateway, servers):
    with joined(gateway, servers["plain"]) as (ours, theirs):
        def send(sock):
            sock.sendall(MEGABYTE * 8)
            sock.shutdown(socket.SHUT_WR)
        senders = [threading.Thread(target=send, args=(sock,)) for sock in (ours, theirs)]
        received = {}
        readers = [threading.Thread(target=lambda s=sock: received.__setitem__(s, read_all(s))) for sock in (ours, theirs)]
        for thread in senders + readers:
            thread.start()
        for thread in senders + readers:
            thread.join(wait.PATIENCE)
        assert received[ours] == MEGABYTE * 8
        assert received[theirs] == MEGABYTE * 8


def test_the_end_of_one_direction_leaves_the_other_open(gateway, servers):
    with joined(gateway, servers["plain"]) as (ours, theirs):
        ours.sendall(b"question")
        ours.shutdown(socket.SHUT_WR)
        assert read_all(theirs) == b"question"
        theirs.sendall(b"answer")
        theirs.close()
        assert read_all(ours) == b"answer"
    with joined(gateway, servers["plain"]) as (ours, theirs):
        theirs.shutdown(socket.SHUT_WR)
        assert read_all(ours) == b""
        ours.sendall(b"still here")
        ours.close()
        assert read_all(theirs) == b"still here"


def test_a_broken_side_resets_the_other(gateway, servers):
    for breaks_client in (True, False):
        with joined(gateway, servers["plain"]) as pair:
            broken, other = pair if breaks_client else reversed(pair)
            broken.sendall(b"some")
            assert read_exactly(other, 4) == b"some"
            broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            broken.close()
            assert is_reset(other)
    assert last_line(gateway, lambda line: line.get("flags") == "UC")["bytes_out"] == 4


def test_a_slow_reader_stops_the_sender(gateway, servers):
    """What the two kernels and the gateway hold is bounded: the sender is not let through to the end."""
    with joined(gateway, servers["plain"]) as (ours, theirs):
        theirs.settimeout(1)
        sent = 0
        with contextlib.suppress(socket.timeout):
            while sent < 256 * len(MEGABYTE):
                sent += theirs.send(MEGABYTE)
        assert sent < 64 * len(MEGABYTE)
        theirs.settimeout(wait.PATIENCE)
        threading.Thread(target=lambda: theirs.shutdown(socket.SHUT_WR)).start()
        assert len(read_all(ours)) == sent


# ---------------------------------------------------------------- where they go

def hello(authority, gateway, listener, name):
    with connect(gateway, listener) as sock:
        with client_context(authority).wrap_socket(sock, server_hostname=name) as tls:
            return {entry[1] for entry in tls.getpeercert()["subjectAltName"]}


def test_tls_passes_untouched_to_the_upstream_of_its_server_name(gateway, servers, authority):
    assert hello(authority, gateway, SNI, "a.test") == {"a.test"}
    assert hello(authority, gateway, SNI, "x.b.test") == {"x.b.test"}
    assert hello(authority, gateway, SNI_OR_PLAIN, "a.test") == {"a.test"}
    servers["a"].take(), servers["a"].take(), servers["b"].take()
    line = last_line(gateway, lambda line: line.get("server_name") == "x.b.test")
    assert (line["upstream"], line["protocol"], line["client"]) == ("tls_b", "tcp", "127.0.0.1")


def test_openssl_speaks_through_it(gateway, servers, authority):
    command = ["openssl", "s_client", "-connect", gateway.addresses[SNI], "-servername", "a.test", "-CAfile", authority.cert_file,
               "-verify_return_error", "-brief"]
    result = subprocess.run(command, input="", capture_output=True, text=True, timeout=wait.PATIENCE, check=False)
    servers["a"].take().close()
    assert "Verification: OK" in result.stderr + result.stdout


def test_a_server_name_of_nobody_is_closed(gateway, authority):
    with connect(gateway, SNI) as sock, pytest.raises((ssl.SSLError, OSError)):
        client_context(authority).wrap_socket(sock, server_hostname="b.test")
    assert last_line(gateway, lambda line: line.get("server_name") == "b.test")["flags"] == "NR"


def test_what_has_no_server_name_goes_to_the_upstream(gateway, servers):
    for first in (b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"):
        with joined(gateway, servers["plain"], SNI_OR_PLAIN, first) as (ours, theirs):
            assert read_exactly(theirs, len(first)) == first
            theirs.sendall(b"ok")
            assert read_exactly(ours, 2) == b"ok"


def test_a_client_hello_may_come_byte_by_byte(gateway, servers, authority):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(authority).wrap_bio(incoming, outgoing, server_hostname="a.test")
    with connect(gateway, SNI) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        for byte in outgoing.read():
            sock.sendall(bytes([byte]))
        while True:
            incoming.write(sock.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                sock.sendall(outgoing.read())
                break
        servers["a"].take().close()


def test_tls_is_terminated(gateway, servers, authority):
    with connect(gateway, TERMINATED) as sock:
        context = client_context(authority)
        with context.wrap_socket(sock, server_hostname="a.test") as tls, servers["plain"].take() as theirs:
            tls.sendall(b"secret")
            assert read_exactly(theirs, 6) == b"secret"
            theirs.sendall(MEGABYTE)
            assert read_exactly(tls, len(MEGABYTE)) == MEGABYTE
            assert tls.selected_alpn_protocol() is None


def test_who_speaks_no_tls_gets_no_answer_in_the_clear(gateway):
    with gateway.connect(TERMINATED) as client:
        client.send_request("GET", "/")
        assert b"HTTP/" not in client.read_rest()


def test_the_next_endpoint_is_tried(gateway, servers):
    for _ in range(2):
        with joined(gateway, servers["plain"], MOSTLY_NOBODY) as (ours, theirs):
            theirs.sendall(b"here")
            assert read_exactly(ours, 4) == b"here"


def test_a_client_of_nobody_is_closed(gateway):
    before = metric(gateway, "perigee_tcp_connections_failed_total", NOBODY)
    with connect(gateway, NOBODY) as sock:
        assert read_all(sock) == b""
    assert last_line(gateway, lambda line: line.get("upstream") == "nobody")["flags"] == "UF"
    assert metric(gateway, "perigee_tcp_connections_failed_total", NOBODY) == before + 1


# ---------------------------------------------------------------- who the client is

def test_the_server_is_told_who_the_client_is(gateway, servers):
    with joined(gateway, servers["plain"], HEADED1, b"data") as (ours, theirs):
        port, listener = ours.getsockname()[1], ours.getpeername()[1]
        expected = b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\ndata" % (port, listener)
        assert read_exactly(theirs, len(expected)) == expected


def test_the_client_of_a_proxy_in_front_is_passed_on(gateway, servers):
    first = b"PROXY TCP4 203.0.113.9 198.51.100.7 51234 443\r\nearly"
    with joined(gateway, servers["plain"], HEADED2, first) as (ours, theirs):
        data = read_exactly(theirs, 28 + 5)
        addresses = socket.inet_aton("203.0.113.9") + socket.inet_aton("198.51.100.7")
        ports = (51234).to_bytes(2, "big") + (443).to_bytes(2, "big")
        assert data == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + addresses + ports + b"early"
        ours.sendall(b" and late")
        assert read_exactly(theirs, 9) == b" and late"
    assert last_line(gateway, lambda line: line["client"] == "203.0.113.9")["bytes_in"] == 14


def test_clients_of_a_unix_socket_have_no_address(gateway, servers):
    with client.Client(gateway.addresses[UNIX]) as ours, servers["plain"].take() as theirs:
        assert read_exactly(theirs, 16) == b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
        theirs.sendall(b"x")
        assert ours.sock.recv(1) == b"x"


KEYED = """
return {
  admin = "unix:$dir/admin.sock", access_log = "$dir/access.log", workers = 1,
  listeners = { { address = "127.0.0.1:0", protocol = "tcp", upstream = "both", proxy_protocol = { from = { "127.0.0.1" } } } },
  upstreams = { both = { endpoints = { "$one", "$two" }, balance = { "BALANCE", by = "client" } } },
  routes = {},
}
"""


@pytest.mark.parametrize("balance", ["ring_hash", "maglev"])
def test_a_client_stays_with_its_server_where_the_client_decides(launch, balance):
    one, two = Server(), Server()
    gateway = launch(KEYED.replace("BALANCE", balance), values={"one": one.address, "two": two.address})

    def endpoint_of(client):
        with connect(gateway, 0) as sock:
            sock.sendall(b"PROXY TCP4 %s 198.51.100.7 51234 443\r\n" % client.encode())
            server = wait.until(lambda: next((each for each in (one, two) if not each.accepted.empty()), None), "a server was chosen")
            server.take().close()
            return server.address

    clients = [f"203.0.113.{number}" for number in range(1, 17)]
    chosen = [endpoint_of(client) for client in clients]
    assert set(chosen) == {one.address, two.address}
    assert [endpoint_of(client) for client in clients] == chosen
    one.close()
    two.close()


# ---------------------------------------------------------------- policies

GUARD = """
local perigee = require "perigee"
local Guard = perigee.policy { name = "guard", stage = "auth", schema = { mode = { type = "string", required = true, doc = "What." } } }
function Guard:on_connect(conn)
    local mode = self.conf.mode
    if mode == "steer" then
        perigee.sleep(0.01)
        local first = conn.alpn and conn.alpn[1]
        conn.upstream = conn.server_name == "a.test" and first == "acme-tls/1" and #conn.alpn == 2 and "two" or "one"
    elseif mode == "tell" then
        perigee.log.info(("%s %d %s %s"):format(conn.client.ip, conn.client.port, conn.listener, tostring(conn.server_name)))
    elseif mode == "hang" then
        perigee.sleep(1000)
    elseif mode == "spin" then
        while true do end
    elseif mode == "wrong" then
        conn.upstream = "nobody"
    else
        return nil, "something is wrong"
    end
end
return Guard
"""

ASKED = """
return {
  admin = "unix:$dir/admin.sock", access_log = "$dir/access.log", workers = 1,
  listeners = {
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "one", policies = { { "ip_restriction", allow = { "127.0.0.0/8" } } } },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "one", policies = { { "ip_restriction", deny = { "127.0.0.0/8" } } } },
    { address = "127.0.0.1:0", protocol = "tcp", sni = { ["b.test"] = "one" }, policies = { { "guard", mode = "steer" } } },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "one", policies = { { "guard", mode = "fail" } } },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "one", policies = { { "guard", mode = "fail", on_failure = "open" } } },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "one", policies = { { "guard", mode = "hang" } },
      timeouts = { headers = "200ms" } },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "one", policies = { { "guard", mode = "spin" } } },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "one", policies = { { "guard", mode = "wrong" } } },
    { address = "127.0.0.1:0", protocol = "tcp", upstream = "one", policies = { { "guard", mode = "tell" },
      { "guard", mode = "fail", when = function(conn) return conn.client.ip == "203.0.113.9" end } },
      proxy_protocol = { from = { "127.0.0.1" } } },
  },
  upstreams = { one = { endpoints = { "$one" } }, two = { endpoints = { "$two" } } },
  routes = {},
}
"""

ALLOWED, DENIED, STEERED, FAILING, OPEN, HANGING, SPINNING, WRONG, TOLD = range(9)


@pytest.fixture(scope="module")
def asked():
    """A gateway whose listeners have policies, and the servers behind it."""
    one, two = Server(), Server()
    files = {"policies/guard/init.lua": GUARD}
    with Gateway(ASKED, files=files, values={"one": one.address, "two": two.address}) as gateway:
        yield gateway, one, two
    one.close()
    two.close()


def check_refused(gateway, listener, flag, first=b""):
    with connect(gateway, listener) as sock:
        sock.sendall(first)
        with contextlib.suppress(ConnectionResetError):
            assert read_all(sock) == b""
    name = f"127.0.0.1:0#{listener + 1}"
    assert last_line(gateway, lambda line: line["listener"] == name)["flags"] == flag


def test_a_policy_lets_connections_in_or_refuses_them(asked):
    gateway, one, _ = asked
    with joined(gateway, one, ALLOWED, b"in") as (_, theirs):
        assert read_exactly(theirs, 2) == b"in"
    check_refused(gateway, DENIED, "RP")


def test_a_policy_may_wait_and_choose_the_upstream(asked, authority):
    gateway, one, two = asked
    for alpn, server in ((["acme-tls/1", "h2"], two), (["h2"], one), (None, one)):
        context = client_context(authority, alpn=alpn)
        tls = context.wrap_bio(ssl.MemoryBIO(), out := ssl.MemoryBIO(), server_hostname="a.test")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        first = out.read()
        with joined(gateway, server, STEERED, first) as (_, theirs):
            assert read_exactly(theirs, len(first)) == first
    with joined(gateway, one, STEERED, b"no tls") as (_, theirs):
        assert read_exactly(theirs, 6) == b"no tls"


def test_a_policy_that_fails_lets_nobody_through_unless_it_may(asked):
    gateway, one, _ = asked
    check_refused(gateway, FAILING, "PF")
    assert "policy 'guard' on listener '127.0.0.1:0#4' failed in on_connect: something is wrong" in gateway.errors
    with joined(gateway, one, OPEN, b"in") as (_, theirs):
        assert read_exactly(theirs, 2) == b"in"
    check_refused(gateway, WRONG, "PF")
    assert "there is no upstream 'nobody' that a tcp listener can pass connections to" in gateway.errors


def test_a_policy_that_never_answers_is_not_waited_for(asked):
    gateway = asked[0]
    check_refused(gateway, HANGING, "PF")
    check_refused(gateway, SPINNING, "PF")


def test_a_client_that_leaves_while_a_policy_waits_leaves_nothing(asked):
    gateway = asked[0]
    with connect(gateway, HANGING):
        wait.until(lambda: metric(gateway, "perigee_tcp_connections", HANGING) == 1, "the policy is asked")
    wait.until(lambda: metric(gateway, "perigee_tcp_connections", HANGING) == 0, "it is over")


def test_a_policy_knows_who_connects_to_what(asked):
    gateway, one, _ = asked
    with joined(gateway, one, TOLD, b"PROXY TCP4 203.0.113.8 198.51.100.7 51234 443\r\nhi") as (_, theirs):
        assert read_exactly(theirs, 2) == b"hi"
    wait.until(lambda: "203.0.113.8 51234 127.0.0.1:0#9 nil" in gateway.errors, "the policy has told")
    check_refused(gateway, TOLD, "PF", b"PROXY TCP4 203.0.113.9 198.51.100.7 51234 443\r\nhi")


def test_mistakes_with_policies_are_named(folder):
    folder.write("policies/guard/init.lua", GUARD)
    path = folder.write("gateway.lua", """return {
      listeners = {
        { address = "127.0.0.1:1", protocol = "tcp", upstream = "db", policies = { { "jwt", secret = "s" } } },
        { address = "127.0.0.1:2", protocol = "tcp", upstream = "db", policies = { { "guard", mode = "x", dry_run = true },
          { "guard", mode = "x", when = { methods = { "GET" } } } } },
        { address = "127.0.0.1:3", policies = { { "guard", mode = "x" } } },
      },
      upstreams = { db = { endpoints = { "127.0.0.1:5" } } },
      routes = { { reply = "x", policies = { { "guard", mode = "x" } } } },
    }""")
    result = run("check", path)
    assert result.returncode == 1
    assert "listeners[1].policies[1]: policy 'jwt' has no on_connect" in result.stderr
    assert "listeners[2].policies[1].dry_run: is for the policies of routes" in result.stderr
    assert "listeners[2].policies[2].when: matches requests" in result.stderr
    assert 'listeners[3].policies: is for listeners with protocol "tcp"' in result.stderr
    assert "routes[1].policies[1]: policy 'guard' has no hook for requests" in result.stderr


# ---------------------------------------------------------------- what ends a connection

def test_an_idle_connection_is_reset(gateway, servers):
    with joined(gateway, servers["plain"], HURRIED) as (ours, theirs):
        assert is_reset(ours)
        assert is_reset(theirs)
    assert last_line(gateway, lambda line: line.get("flags") == "SI")["upstream"] == "plain"


def test_a_connection_is_reset_when_its_longest_duration_is_over(gateway, servers):
    with joined(gateway, servers["plain"], SHORT_LIVED) as (ours, theirs):
        deadline = wait.Deadline()
        with pytest.raises(ConnectionError):
            while not deadline.is_over():
                ours.sendall(b"ping")
                assert read_exactly(theirs, 4) == b"ping"
                theirs.sendall(b"pong")
                assert read_exactly(ours, 4) == b"pong"
    line = last_line(gateway, lambda line: line.get("flags") == "UMSDR")
    assert (line["upstream"], line["bytes_in"] > 0, line["duration_ms"] >= 300) == ("short_lived", True, True)
    assert metric(gateway, "perigee_tcp_connections", SHORT_LIVED) == 0


def test_a_silent_client_is_not_waited_for_long_where_its_server_name_is_needed(gateway):
    with connect(gateway, LOOK_HURRIED) as sock:
        sock.sendall(b"\x16\x03\x01")
        assert read_all(sock) == b""


def test_connections_are_limited(gateway, servers):
    with joined(gateway, servers["plain"], ONE) as (ours, theirs):
        with connect(gateway, ONE) as other:
            assert read_all(other) == b""
        theirs.sendall(b"still")
        assert read_exactly(ours, 5) == b"still"


# ---------------------------------------------------------------- operations

def test_connections_and_bytes_are_counted(gateway, servers):
    def counts():
        return [metric(gateway, name, PLAIN) for name in ("perigee_tcp_connections", "perigee_tcp_connections_total")] + [
            metric(gateway, "perigee_tcp_bytes_total", PLAIN, direction=way) for way in ("in", "out")]
    wait.until(lambda: counts()[0] == 0, "earlier connections were closed")
    before = counts()
    with joined(gateway, servers["plain"]) as (ours, theirs):
        ours.sendall(b"12345")
        read_exactly(theirs, 5)
        theirs.sendall(b"123")
        read_exactly(ours, 3)
        assert counts() == [1, before[1] + 1, before[2] + 5, before[3] + 3]
    wait.until(lambda: counts()[0] == 0, "the connection is not counted any more")


RELOADED = """
return {
  admin = "unix:$dir/admin.sock", access_log = "off", workers = 1, drain = "500ms",
  listeners = { { address = "127.0.0.1:0", PROTOCOL } },
  upstreams = { one = { endpoints = { "$one" } }, two = { endpoints = { "$two" } } },
  routes = { { reply = "http" } },
}
"""


def config(protocol):
    return RELOADED.replace("PROTOCOL", protocol)


def test_a_reload_changes_where_new_connections_go_and_drops_none(launch):
    one, two = Server(), Server()
    gateway = launch(config('protocol = "tcp", upstream = "one"'), values={"one": one.address, "two": two.address})
    with joined(gateway, one, 0) as (ours, theirs):
        assert gateway.reload(config('protocol = "tcp", upstream = "two"')).returncode == 0
        with joined(gateway, two, 0) as (new, new_theirs):
            new_theirs.sendall(b"two")
            assert read_exactly(new, 3) == b"two"
            assert gateway.reload(config("")).returncode == 0
            assert gateway.get("/").text() == "http"
            for pair, text in (((ours, theirs), b"old"), ((new, new_theirs), b"new")):
                pair[0].sendall(text)
                assert read_exactly(pair[1], 3) == text
    one.close()
    two.close()


def test_draining_lets_connections_go_on_until_its_time_is_over(launch):
    one = Server()
    gateway = launch(config('protocol = "tcp", upstream = "one"'), values={"one": one.address, "two": one.address})
    with joined(gateway, one, 0) as (ours, theirs):
        theirs.sendall(b"x")
        assert read_exactly(ours, 1) == b"x"
        gateway.signal()
        wait.until(lambda: "draining" in gateway.errors, "it drains")
        theirs.sendall(b"still")
        assert read_exactly(ours, 5) == b"still"
        assert is_reset(ours)
        gateway.wait_exit()
    one.close()


def test_mistakes_in_the_settings_are_named(folder):
    path = folder.write("gateway.lua", """return {
      listeners = {
        { address = "127.0.0.1:1", protocol = "tcp" },
        { address = "127.0.0.1:2", protocol = "tcp", upstream = "dbs", sni = { ["a.test"] = "secure" } },
        { address = "127.0.0.1:3", upstream = "db" },
        { address = "127.0.0.1:4", protocol = "tcp", upstream = "db", tls = { cert = "a", key = "b", alpn = { "h2" } } },
      },
      upstreams = { db = { endpoints = { "127.0.0.1:5" }, proxy_protocol = "v2" }, secure = { endpoints = { "a.test:5" }, tls = {} } },
      routes = { { upstream = "db" } },
    }""")
    result = run("check", path)
    assert result.returncode == 1
    assert "listeners[1]: needs 'upstream' or 'sni'" in result.stderr
    assert "listeners[2].upstream: there is no upstream 'dbs'; did you mean 'db'?" in result.stderr
    assert "listeners[2].sni.a.test: upstream 'secure' has tls" in result.stderr.replace('["a.test"]', ".a.test")
    assert 'listeners[3].upstream: is for listeners with protocol "tcp"' in result.stderr
    assert "listeners[4].tls.alpn: a tcp listener speaks no protocol" in result.stderr
    assert "routes[1].upstream: upstream 'db' has proxy_protocol" in result.stderr


# ---------------------------------------------------------------- real programs

def test_redis_works_through_it(launch):
    with Redis() as redis:
        gateway = launch(config('protocol = "tcp", upstream = "one"'), values={"one": redis.address, "two": redis.address})
        port = gateway.address.rsplit(":", 1)[1]

        def ask(*command, **options):
            return subprocess.run(["redis-cli", "-p", port, *command], capture_output=True, text=True, check=True,
                                  timeout=wait.PATIENCE, **options).stdout.strip()
        value = "v" * 300000
        assert ask("-x", "set", "key", input=value) == "OK"
        assert ask("get", "key") == value

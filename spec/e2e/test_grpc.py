# SPDX-License-Identifier: MIT
"""gRPC with the interop programs of grpc-go, in the clear and with TLS; gRPC-Web and the proxy's own errors before the same server."""

import base64
import json
import socket
import subprocess

import pytest

from support import http2, program, wait
from support.gateway import Gateway
from support.metrics import Metrics
from support.upstream import free_address

CASES = (
    "empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "timeout_on_sleeping_server",
    "cancel_after_begin", "cancel_after_first_response", "status_code_and_message", "special_status_message",
    "unimplemented_method", "unimplemented_service", "custom_metadata",
)

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  workers = 1,
  listeners = {
    { address = "127.0.0.1:0" },
    { address = "127.0.0.1:0", tls = { cert = "site.pem", key = "site.key" } },
  },
  upstreams = {
    clear = { endpoints = { "$clear" }, protocol = "h2c" },
    secure = { endpoints = { "$secure" }, protocol = "h2", tls = { ca = "ca.pem" } },
    gone = { endpoints = { "$gone" }, protocol = "h2c" },
  },
  routes = {
    { name = "gone", match = { path = "/gone.Service/*" }, upstream = "gone" },
    { name = "denied", match = { path = "/denied.Service/*" }, upstream = "clear", policies = { { "key_auth", keys = { k = "ada" } } } },
    { name = "web", match = { path = "/grpc.testing.TestService/*", headers = { ["x-grpc-web"] = "1" } }, upstream = "clear",
      policies = { "grpc_web" } },
    { name = "calls", match = { path = "/grpc.testing.TestService/*" }, upstream = TARGET },
  },
}
"""


@pytest.fixture(scope="module")
def programs():
    """grpc-go's interop client and server."""
    return {name: program.build_go(f"grpc_interop_{name}", f"google.golang.org/grpc/interop/{name}", "spec/grpc")
            for name in ("client", "server")}


@pytest.fixture(scope="module")
def site(authority):
    return authority.issue("localhost", "IP:127.0.0.1")


def accepts(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def servers(programs, site):
    """Addresses of the interop server, in the clear and with TLS."""
    addresses, children = [], []
    for options in ((), ("-use_tls", "-tls_cert_file", site.cert_file, "-tls_key_file", site.key_file)):
        address = free_address()
        addresses.append(address)
        command = [programs["server"], "-port", address.rpartition(":")[2], *options]
        children.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait.until(lambda at=address: accepts(at), "the interop server listened")
    yield addresses
    for child in children:
        child.terminate()
        child.wait()


@pytest.fixture(scope="module", params=["clear", "secure"])
def gateway(request, servers, site, authority):
    files = {"site.pem": site.cert, "site.key": site.key, "ca.pem": authority.cert}
    values = {"clear": servers[0], "secure": servers[1], "gone": free_address()}
    with Gateway(CONFIG.replace("TARGET", f'"{request.param}"'), files=files, values=values) as gateway:
        yield gateway


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("is_secure", [False, True])
def test_a_case_of_the_interop_client_passes(programs, gateway, authority, is_secure, case):
    command = [programs["client"], "-server_host", "127.0.0.1", "-server_port", gateway.addresses[is_secure].rpartition(":")[2],
               "-test_case", case]
    command += ["-use_tls", "-use_test_ca", "-ca_file", authority.cert_file] if is_secure else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=6 * wait.PATIENCE, check=False)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- without a gRPC client

EMPTY = b"\0\0\0\0\0"


def ask(gateway, path, kind="application/grpc", body=EMPTY, headers=()):
    return gateway.request("POST", path, [("Content-Type", kind), ("TE", "trailers"), *headers], body)


def assert_error(response, status, message):
    assert response.status == 200
    assert response.body == b""
    assert response.headers.get("content-type") == "application/grpc"
    assert response.headers.get("grpc-status") == str(status)
    assert response.headers.get("grpc-message") == message


def test_errors_of_the_proxy_are_those_of_grpc(gateway):
    assert_error(ask(gateway, "/none.Service/Method"), 12, "No route matches the request.")
    assert_error(ask(gateway, "/gone.Service/Method"), 14, "The upstream could not be reached.")
    assert_error(ask(gateway, "/denied.Service/Method"), 16, "The request needs an API key.")


def test_errors_of_the_proxy_and_of_the_server_have_a_head_and_nothing_else(gateway):
    with http2.connect(gateway.address) as client:
        for path, status in (("/none.Service/Method", "12"), ("/grpc.testing.TestService/NoSuchCall", "12")):
            headers = [("content-type", "application/grpc"), ("te", "trailers")]
            call = client.request("POST", path, headers, EMPTY).wait_end()
            assert (call.status, call.body, list(call.trailers)) == (200, b"", [])
            assert call.headers.get("grpc-status") == status
            assert call.headers.get("content-length") is None


def test_a_call_over_http_1_has_its_status_in_the_trailers(gateway):
    response = ask(gateway, "/grpc.testing.TestService/EmptyCall")
    assert (response.status, response.body) == (200, EMPTY)
    assert response.trailers.get("grpc-status") == "0"


def frames(body):
    """[(flags, bytes)] of a gRPC-Web body."""
    found = []
    while body:
        size = int.from_bytes(body[1:5], "big")
        assert len(body) >= 5 + size
        found.append((body[0], body[5:5 + size]))
        body = body[5 + size:]
    return found


def test_a_binary_call_of_a_page_is_answered(gateway):
    response = ask(gateway, "/grpc.testing.TestService/EmptyCall", "application/grpc-web+proto", headers=[("X-Grpc-Web", "1")])
    assert response.headers.get("content-type") == "application/grpc-web+proto"
    (flags, message), (last, trailers) = frames(response.body)
    assert (flags, message, last) == (0, b"", 0x80)
    assert b"grpc-status:0\r\n" in trailers
    assert response.trailers.get("grpc-status") is None


def test_a_call_of_a_page_as_text_gets_a_large_message(gateway):
    message = bytes([0x10]) + b"\x80\x80\x10"  # SimpleRequest: response_size = 262144
    body = base64.b64encode(b"\0" + len(message).to_bytes(4, "big") + message)
    response = ask(gateway, "/grpc.testing.TestService/UnaryCall", "application/grpc-web-text", body, [("X-Grpc-Web", "1")])
    assert response.headers.get("content-type") == "application/grpc-web-text+proto"
    letters = response.body
    (flags, message), (last, trailers) = frames(b"".join(base64.b64decode(letters[at:at + 4]) for at in range(0, len(letters), 4)))
    assert (flags, last) == (0, 0x80)
    assert len(message) > 262144
    assert b"grpc-status:0\r\n" in trailers


def test_an_error_without_a_message_reaches_the_page(gateway):
    response = ask(gateway, "/grpc.testing.TestService/NoSuchCall", "application/grpc-web", headers=[("X-Grpc-Web", "1")])
    assert response.headers.get("content-type") == "application/grpc-web+proto"
    assert response.headers.get("grpc-status") == "12"


def test_calls_are_logged_and_counted_by_their_status(gateway):
    ask(gateway, "/grpc.testing.TestService/EmptyCall")
    ask(gateway, "/none.Service/Counted")
    line = wait.until(lambda: next((line for line in gateway.output if "/none.Service/Counted" in line), None), "the call was logged")
    entry = json.loads(line)
    assert (entry["status"], entry["grpc_status"], entry["flags"]) == (200, 12, "NR")
    assert json.loads(next(line for line in gateway.output if "/EmptyCall" in line))["grpc_status"] == 0
    samples = Metrics(gateway.ask("GET", "/metrics").text()).samples
    calls = {(labels["route"], labels["grpc_status"]) for name, labels, value in samples
             if name == "perigee_grpc_requests_total" and value >= 1}
    assert {("calls", "0"), ("other", "12")} <= calls
    codes = {labels["code"] for name, labels, _ in samples if name == "perigee_requests_total" and labels["route"] == "calls"}
    assert codes <= {"200", "499"}  # 499: the client of a case broke off

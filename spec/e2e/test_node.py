# SPDX-License-Identifier: MIT
"""Clients and servers that are not written in C or Go: Node's http2, and gRPC by @grpc/grpc-js, in the clear and with TLS."""

import contextlib
import os
import pathlib
import shutil
import subprocess

import pytest

from support import program, wait
from support.gateway import BINARY, TOP, Gateway
from support.upstream import free_address

SCRIPTS = TOP / "spec/node"
MODULES = pathlib.Path(BINARY).resolve().parent / "tools/node"
GRPC_CASES = (
    "unary", "metadata", "client_streaming", "server_streaming", "both_streaming", "error_status", "errors_of_the_proxy", "deadline", "cancel",
    "many_calls_at_once",
)
HTTP2_CASES = (
    "many_streams", "no_push", "big_bodies", "trailers", "interim_response", "reset_by_the_server", "reset_by_the_client",
    "ping_and_close",
)

CONFIG = """
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 1,
  listeners = {
    { address = "127.0.0.1:0" },
    { address = "127.0.0.1:0", tls = { cert = "site.pem", key = "site.key" } },
  },
  upstreams = {
    clear = { endpoints = { "$clear" }, protocol = "h2c" },
    secure = { endpoints = { "$secure" }, protocol = "h2", tls = { ca = "ca.pem" } },
    pages = { endpoints = { "$pages" }, protocol = "h2c" },
    gone = { endpoints = { "$gone" }, protocol = "h2c" },
  },
  routes = {
    { name = "gone", match = { path = "/gone.Service/*" }, upstream = "gone" },
    { name = "denied", match = { path = "/denied.Service/*" }, upstream = "clear", policies = { { "key_auth", keys = { k = "ada" } } } },
    { name = "calls", match = { path = "/spec.Echo/*" }, upstream = function(req)
      return req.scheme == "https" and "secure" or "clear" end },
    { name = "pages", match = { path = "/{name}" }, upstream = "pages" },
  },
}
"""


@pytest.fixture(scope="module")
def node():
    return program.need("node")


@pytest.fixture(scope="module")
def modules():
    """The folder of @grpc/grpc-js, installed once beside the binary in the version that spec/node/package-lock.json names."""
    lock = (SCRIPTS / "package-lock.json").read_bytes()
    copy = MODULES / "package-lock.json"
    if (MODULES / "installed").exists() and copy.read_bytes() == lock:
        return MODULES / "node_modules"
    npm = program.need("npm")
    shutil.rmtree(MODULES, ignore_errors=True)
    MODULES.mkdir(parents=True)
    copy.write_bytes(lock)
    shutil.copy(SCRIPTS / "package.json", MODULES)
    done = subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=MODULES, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        program.miss(f"@grpc/grpc-js could not be installed: {done.stderr.strip()}")
    (MODULES / "installed").touch()
    return MODULES / "node_modules"


@pytest.fixture(scope="module")
def site(authority):
    return authority.issue("localhost", "IP:127.0.0.1")


@contextlib.contextmanager
def serving(node, script, *options, modules=None):
    """Address of a server in Node, which prints its port and ends with its standard input."""
    environment = {**os.environ, "NODE_PATH": str(modules or "")}
    child = subprocess.Popen([node, SCRIPTS / script, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        port = child.stdout.readline().strip()
        assert port, f"{script} ended with {child.wait(wait.PATIENCE)}"
        yield f"127.0.0.1:{port}"
    finally:
        child.stdin.close()
        child.stdout.close()
        child.wait(wait.PATIENCE)


@pytest.fixture(scope="module")
def pages(node):
    with serving(node, "http2_server.js") as address:
        yield address


@pytest.fixture(scope="module")
def services(node, modules, site):
    with serving(node, "grpc_server.js", modules=modules) as clear, \
         serving(node, "grpc_server.js", site.cert_file, site.key_file, modules=modules) as secure:
        yield clear, secure


@contextlib.contextmanager
def gateway_before(site, authority, pages, services):
    files = {"site.pem": site.cert, "site.key": site.key, "ca.pem": authority.cert}
    values = {"clear": services[0], "secure": services[1], "pages": pages, "gone": free_address()}
    with Gateway(CONFIG, files=files, values=values) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def page_gateway(site, authority, pages):
    with gateway_before(site, authority, pages, (free_address(), free_address())) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def call_gateway(site, authority, services):
    with gateway_before(site, authority, free_address(), services) as gateway:
        yield gateway


def run_case(node, script, case, address, authority=None, modules=None):
    command = [node, SCRIPTS / script, case, address, *([authority.cert_file] if authority else [])]
    environment = {**os.environ, "NODE_PATH": str(modules or "")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=6 * wait.PATIENCE, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", HTTP2_CASES)
@pytest.mark.parametrize("is_secure", [False, True])
def test_a_client_and_a_server_of_nodes_http2_meet(node, page_gateway, authority, is_secure, case):
    run_case(node, "http2_client.js", case, page_gateway.addresses[is_secure], authority if is_secure else None)


@pytest.mark.parametrize("case", GRPC_CASES)
@pytest.mark.parametrize("is_secure", [False, True])
def test_a_client_and_a_server_of_grpc_js_meet(node, modules, call_gateway, authority, is_secure, case):
    run_case(node, "grpc_client.js", case, call_gateway.addresses[is_secure], authority if is_secure else None, modules)

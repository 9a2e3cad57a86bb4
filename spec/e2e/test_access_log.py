# SPDX-License-Identifier: MIT
"""Where the access log goes, and what policies say in it."""

import json
import subprocess

import pytest

from support import http2, wait
from support.gateway import run

CONFIG = """
return {
  admin = "unix:$dir/admin.sock", access_log = "$log", workers = $workers,
  listeners = { { address = "127.0.0.1:0" } },
  routes = { { name = "hello", match = { path = "/hello" }, reply = "hello" } },
}
"""


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("log, stream", [("stdout", "output"), ("-", "output"), ("/dev/stdout", "output"), ("/dev/stderr", "lines")])
def test_streams_of_the_process_go_by_several_names(launch, log, stream, workers):
    gateway = launch(CONFIG, values={"log": log, "workers": workers})
    gateway.get("/hello")
    lines = wait.until(lambda: [line for line in getattr(gateway, stream) if line.startswith("{")], "the log has a line")
    entry = json.loads(lines[0])
    assert (entry["path"], entry["route"], entry["status"]) == ("/hello", "hello", 200)


FAULTY = """
return {
  admin = "unix:$dir/admin.sock", access_log = "$dir/access.log", workers = 1,
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { nobody = { endpoints = { "127.0.0.1:1" } } },
  routes = {
    { name = "faulty", match = { path = "/faulty" }, reply = "well", policies = {
        { "fault", delay = { time = "1ms" }, abort = { status = 503 } } } },
    { name = "late", match = { path = "/late" }, upstream = "nobody", policies = { { "fault", delay = { time = "1ms" } } } },
    { name = "dry", match = { path = "/dry" }, reply = "well", policies = { { "fault", abort = { status = 503 }, dry_run = true } } },
  },
}
"""


@pytest.fixture
def faulty(launch):
    return launch(FAULTY)


def entries(gateway, count):
    return wait.until(lambda: len(gateway.log_lines()) >= count and gateway.log_lines(), f"the log has {count} lines")


def test_policies_set_flags_over_every_protocol(faulty, curl):
    url = f"http://{faulty.address}/faulty"
    for version in ("--http1.1", "--http2-prior-knowledge"):
        done = subprocess.run([curl, version, "-s", "-o", "/dev/null", "-w", "%{http_code}", url], capture_output=True, text=True, check=True)
        assert done.stdout == "503"
    with http2.connect(faulty.address) as session:
        call = session.request("POST", "/faulty", [("content-type", "application/grpc"), ("te", "trailers")], b"\0\0\0\0\0")
        call.wait_end()
        assert call.headers.get("grpc-status") == "14"
    seen = [(entry["status"], entry.get("grpc_status"), entry["flags"]) for entry in entries(faulty, 3)]
    assert seen == [(503, None, "DI,FI"), (503, None, "DI,FI"), (200, 14, "DI,FI")]


def test_flags_of_policies_stand_beside_the_error_that_followed(faulty):
    assert faulty.get("/late").status == 503
    assert faulty.get("/dry").status == 200
    assert [entry.get("flags") for entry in entries(faulty, 2)] == ["UF,DI", None]


def test_explain_shows_the_flags(faulty):
    result = run("explain", "--admin", faulty.admin, "GET", "/faulty")
    assert "The answer is 503, flags DI,FI.\n" in result.stdout
    assert "req.flags = DI,FI\n" in result.stdout
    assert faulty.command("explain", "GET", "/dry").stdout.count("would have changed\n                req.flags = FI\n") == 1
    assert json.loads(run("explain", "--json", "--admin", faulty.admin, "GET", "/faulty").stdout)["answer"]["flags"] == "DI,FI"

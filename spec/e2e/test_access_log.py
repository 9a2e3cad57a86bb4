# SPDX-License-Identifier: MIT
"""Where the access log goes."""

import json

import pytest

from support import wait

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

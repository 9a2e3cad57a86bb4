# SPDX-License-Identifier: MIT
"""`perigee record` beside real traffic: what is in the file, what never is, and that nobody waits for a reader."""

import base64
import contextlib
import json
import os
import signal
import subprocess

import pytest

from support import client, wait
from support.gateway import BINARY, run
from support.load import Load, wait_for_answers
from support.upstream import free_address

CONFIG = """
local perigee = require "perigee"

return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = WORKERS,
  watchdog = "2s",
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" } }, nobody = { endpoints = { "$nobody" } } },
  policies = { { "headers", response = { set = { ["x-edge"] = "1" } } } },
  routes = {
    { name = "worker", match = { path = "/worker" }, handler = function()
        return reply(200, "", { ["x-worker"] = tostring(perigee.worker) }) end },
    { name = "large", match = { path = "/large" }, handler = function() return reply(200, "x", { ["x-fill"] = ("f"):rep(4000) }) end },
    { name = "keyed", match = { path = "/keyed/*" }, upstream = "origin", rewrite = { prefix = "/v2" },
      policies = { { "key_auth", keys = { ["KEY-of-alice-1234"] = "alice" }, header = "x-shop-key", query = "shop_key" } } },
    { name = "nobody", match = { path = "/nobody" }, upstream = "nobody" },
    { name = "faulty", match = { path = "/faulty" }, reply = "well", policies = { { "fault", abort = { status = 503 } } } },
    { name = "all", match = { path = "/*" }, upstream = "origin" },
  },
}
"""

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLXRoaXM"


@pytest.fixture
def start(origin, launch):
    def make(workers=2):
        return launch(CONFIG.replace("WORKERS", str(workers)), values={"origin": origin.address, "nobody": free_address()})

    return make


class Recorder:
    """A running `perigee record`."""

    def __init__(self, gateway, *options, out="recording.jsonl"):
        self.gateway = gateway
        self.path = gateway.folder.path / out
        self.process = subprocess.Popen([BINARY, "record", "--admin", gateway.admin, "--out", str(self.path), *options],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def lines(self):
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def exchanges(self):
        return [line for line in self.lines() if "request" in line]

    def targets(self):
        return [exchange["request"]["target"] for exchange in self.exchanges()]

    def wait_for_workers(self, count=2):
        """Asks until an exchange of each worker is in the file: from then on nothing is missed."""
        def is_each_there():
            for _ in range(8):
                self.gateway.get("/worker")
            seen = {dict(exchange["response"]["headers"]).get("x-worker") for exchange in self.exchanges()}
            return len(seen - {None}) == count

        wait.until(is_each_there, f"{count} workers record")
        return self

    def wait_for(self, target, count=1):
        wait.until(lambda: self.targets().count(target) >= count, f"{target} was recorded {count} times")
        return [exchange for exchange in self.exchanges() if exchange["request"]["target"] == target]

    def wait_exit(self):
        self.errors = self.process.communicate(timeout=wait.PATIENCE)[1]
        return self.process.returncode

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        assert self.wait_exit() == 0, self.errors
        return self.lines()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def headers(message):
    return dict(message["headers"])


# ---------------------------------------------------------------- what is in the file


def test_the_flags_of_the_access_log_are_in_the_file(start):
    gateway = start()
    with Recorder(gateway) as recorder:
        recorder.wait_for_workers()
        gateway.get("/faulty")
        gateway.get("/nobody")
        assert [recorder.wait_for(path)[0]["flags"] for path in ("/faulty", "/nobody")] == ["FI", "UF"]
        assert all("flags" not in exchange for exchange in recorder.wait_for("/worker"))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exchange_is_recorded_with_what_was_decided(start, workers):
    gateway = start(workers)
    with Recorder(gateway) as recorder:
        recorder.wait_for_workers(max(workers, 1))
        gateway.request("POST", "/keyed/a/./b?c=d", [("X-Shop-Key", "KEY-of-alice-1234")], "grüße".encode())
        exchange = recorder.wait_for("/keyed/a/./b?c=d")[0]
        lines = recorder.stop()
    assert lines[0]["perigee_recording"] == 1
    assert lines[0]["credentials"] == "masked"
    assert lines[-1] == {"end": {"exchanges": len(lines) - 2, "dropped": 0}}
    assert exchange["route"] == "keyed"
    assert exchange["consumer"] == "alice"
    assert exchange["peer"] == exchange["client"] == "127.0.0.1"
    assert exchange["request"]["method"] == "POST"
    assert exchange["request"]["host"] == client.HOST
    assert (exchange["request"]["body"], exchange["request"]["body_bytes"]) == ("grüße", 7)
    attempt = exchange["attempts"][0]
    assert (attempt["upstream"], attempt["request"]["target"]) == ("origin", "/v2/a/b?c=d")
    assert attempt["response"]["status"] == exchange["response"]["status"] == 200
    assert "x-edge" not in headers(attempt["response"])
    assert headers(exchange["response"])["x-edge"] == "1"
    assert json.loads(attempt["response"]["body"])["target"] == "/v2/a/b?c=d"
    assert os.stat(recorder.path).st_mode & 0o777 == 0o600


def test_bytes_that_are_no_text_come_back_the_same(start):
    gateway = start(0)
    body = bytes(range(256))
    with Recorder(gateway) as recorder:
        recorder.wait_for_workers(1)
        gateway.request("POST", "/bytes", [("X-Odd", "a\"\\\xe9\xff")], body)
        request = recorder.wait_for("/bytes")[0]["request"]
        recorder.stop()
    assert base64.b64decode(request["body_base64"]) == body
    assert headers(request)["x-odd"].encode("latin-1") == b'a"\\\xe9\xff'


def test_a_body_is_kept_up_to_the_limit(start, origin):
    origin.answer = lambda wire, request: (wire.read_request_body(request), wire.respond(200, body=b"0123456789" * 10))
    gateway = start(0)
    with Recorder(gateway, "--body", "16") as recorder:
        recorder.wait_for_workers(1)
        gateway.request("POST", "/long", body="äöü".encode() * 10)
        exchange = recorder.wait_for("/long")[0]
    request, response = exchange["request"], exchange["attempts"][0]["response"]
    assert request["body_is_cut"] and request["body_bytes"] == 60
    assert request["body"] == "äöüäöüäö"
    assert response["body_is_cut"] and response["body_bytes"] == 100
    assert response["body"] == "0123456789012345"


def test_an_upstream_that_fails_is_recorded_as_one(start):
    gateway = start(0)
    with Recorder(gateway) as recorder:
        recorder.wait_for_workers(1)
        assert gateway.get("/nobody").status == 503
        exchange = recorder.wait_for("/nobody")[0]
    assert exchange["error"] == exchange["attempts"][0]["error"] == "connect_failed"
    assert exchange["response"]["status"] == 503
    assert "response" not in exchange["attempts"][0]


def test_a_worker_that_takes_the_place_of_another_records_too(start):
    gateway = start(2)
    with Recorder(gateway) as recorder:
        recorder.wait_for_workers()
        killed = gateway.workers()[0]
        os.kill(killed, signal.SIGKILL)
        gateway.wait_replaced(killed)
        for i in range(20):
            gateway.get(f"/after/{i}")
        for i in range(20):
            recorder.wait_for(f"/after/{i}")
        recorder.stop()


def test_a_reload_does_not_end_a_recording(start):
    gateway = start(2)
    with Recorder(gateway) as recorder:
        recorder.wait_for_workers()
        gateway.reload()
        gateway.get("/after")
        recorder.wait_for("/after")
        recorder.stop()


# ---------------------------------------------------------------- what is not


def test_no_secret_is_in_the_file_wherever_it_stood(start, origin, curl):
    cookie, set_cookie = "sid-0123456789abcdef", "new-0123456789abcdef"

    def echo(wire, request):
        wire.read_request_body(request)
        body = " ".join([request.target, *(value for _, value in request.headers)]).encode()
        wire.respond(200, [("Set-Cookie", f"sid={set_cookie}; Path=/"), ("X-Token", JWT)], body)

    origin.answer = echo
    gateway = start(2)
    secrets = ["KEY-of-alice-1234", "s3cr3t-token-of-bob", "dXNlcjpwYXNzd29yZA==", "in-house-secret", cookie, set_cookie, JWT]
    with Recorder(gateway, "--mask", "x-in-house,query:ticket") as recorder:
        recorder.wait_for_workers()
        base = f"http://{gateway.address}"
        for arguments in [
            ["-H", "X-Shop-Key: KEY-of-alice-1234", "-H", f"Referer: {base}/keyed/x?shop_key=KEY-of-alice-1234", f"{base}/keyed/1"],
            [f"{base}/keyed/2?shop_key=KEY-of-alice-1234&shop%5Fkey=KEY-of-alice-1234"],
            ["-H", "Authorization: Bearer s3cr3t-token-of-bob", "-H", "Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==", f"{base}/3"],
            ["-H", "X-In-House: in-house-secret", "-b", f"sid={cookie}; lang=de", f"{base}/4?ticket=in-house-secret"],
            ["-H", f"X-Other: {JWT}", "-d", json.dumps({"token": JWT}), f"{base}/5"],
        ]:
            subprocess.run([curl, "-sS", "-o", "/dev/null", *arguments], check=True, timeout=wait.PATIENCE)
        wait.until(lambda: sum(target != "/worker" for target in recorder.targets()) == 5, "all of it was recorded")
        recorder.stop()
    text = recorder.path.read_text()
    assert [secret for secret in secrets if secret in text] == []
    assert "lang=masked:" in text
    exchange = next(exchange for exchange in recorder.exchanges() if exchange["request"]["target"] == "/keyed/1")
    masked = headers(exchange["request"])["x-shop-key"]
    assert masked.startswith("masked:") and len(masked) == 23
    assert headers(exchange["request"])["referer"].endswith(f"?shop_key={masked}")
    assert headers(exchange["attempts"][0]["request"])["x-shop-key"] == masked
    assert f"/keyed/2?shop_key={masked}&shop%5Fkey={masked}" in recorder.targets()
    assert any(headers(exchange["request"]).get("authorization", "").startswith("Bearer masked:") for exchange in recorder.exchanges())


def test_masks_of_two_recordings_cannot_be_compared(start):
    gateway = start(0)
    masks = set()
    for name in ("one", "two"):
        with Recorder(gateway, out=name) as recorder:
            recorder.wait_for_workers(1)
            gateway.get("/a", [("Authorization", "Bearer abcdefghij")])
            masks.add(headers(recorder.wait_for("/a")[0]["request"])["authorization"])
            recorder.stop()
    assert len(masks) == 2


def test_credentials_are_kept_where_that_is_asked_for(start):
    gateway = start(0)
    with Recorder(gateway, "--keep-credentials") as recorder:
        recorder.wait_for_workers(1)
        gateway.get("/a", [("Authorization", "Bearer abcdefghij"), ("Cookie", "a=b")])
        request = recorder.wait_for("/a")[0]["request"]
        lines = recorder.stop()
    assert lines[0]["credentials"] == "kept"
    assert headers(request)["authorization"] == "Bearer abcdefghij"
    assert headers(request)["cookie"] == "a=b"


# ---------------------------------------------------------------- how much, and for how long


def test_a_sample_is_a_part(start):
    gateway = start(2)
    with Recorder(gateway, "--sample", "50%") as recorder:
        recorder.wait_for_workers()
        for i in range(200):
            gateway.get(f"/some/{i}")
        end = recorder.stop()[-1]
    taken = [target for target in recorder.targets() if target.startswith("/some/")]
    assert 0 < len(taken) < 200, end
    assert len(set(taken)) == len(taken)


def test_count_ends_the_recording(start):
    gateway = start(2)
    with Recorder(gateway, "--count", "5") as recorder, contextlib.closing(gateway.connect()) as connection:
        wait.until(lambda: recorder.process.poll() is not None or not connection.get("/worker"), "the recording was over")
        assert recorder.wait_exit() == 0
    assert "5 exchanges recorded, 0 dropped" in recorder.errors
    assert len(recorder.exchanges()) == 5
    assert recorder.lines()[-1]["end"]["exchanges"] == 5


def test_time_ends_the_recording(start):
    gateway = start(0)
    result = gateway.command("record", "--out", "-", "--for", "50ms")
    assert result.returncode == 0, result.stderr
    assert [list(json.loads(line))[0] for line in result.stdout.splitlines()] == ["perigee_recording", "end"]


def test_the_end_of_the_proxy_ends_the_recording(start):
    gateway = start(2)
    with Recorder(gateway) as recorder:
        recorder.wait_for_workers()
        gateway.signal()
        assert recorder.wait_exit() == 0
    assert "end" in recorder.lines()[-1]


def test_one_recording_at_a_time(start):
    gateway = start(2)
    with Recorder(gateway) as recorder:
        recorder.wait_for_workers()
        second = gateway.command("record", "--out", "-")
        assert second.returncode == 1
        assert "Another recording is under way" in second.stderr
        recorder.stop()
    assert wait.until(lambda: gateway.command("record", "--out", "-", "--for", "10ms").returncode == 0, "the next one may begin")


# ---------------------------------------------------------------- readers that misbehave


def open_recording(gateway):
    """POST /record by hand, on a socket that takes little."""
    reader = client.Client(gateway.admin, buffers=4096)
    reader.send_request("POST", "/record", [("Host", "localhost")], body=b"")
    assert reader.read_head().status == 200
    return reader


def test_a_reader_that_does_not_read_costs_exchanges_of_the_recording_only(start):
    gateway = start(2)
    reader = open_recording(gateway)
    loads = [Load(gateway, ["/large", "/worker"]) for _ in range(2)]
    wait_for_answers(loads, 600)
    assert [load.stop() for load in loads] == [[], []]

    def read_dropped():
        """Reads on until the proxy says how many it has dropped."""
        while True:
            while b"\n" not in reader.buffer:
                assert reader.fill(), "the recording ended"
            line, _, rest = bytes(reader.buffer).partition(b"\n")
            reader.buffer[:] = rest
            if line.startswith(b'{"dropped":') and not line.startswith(b'{"dropped":0}'):
                return json.loads(line)["dropped"]

    assert read_dropped() > 0
    reader.close()


def test_a_reader_that_is_killed_ends_the_recording_and_nothing_else(start):
    gateway = start(2)
    load = Load(gateway, ["/worker", "/large"])
    with Recorder(gateway) as recorder:
        recorder.wait_for_workers()
        recorder.process.send_signal(signal.SIGKILL)
        recorder.process.wait(wait.PATIENCE)
    wait_for_answers([load], 20)
    with Recorder(gateway, out="again.jsonl") as again:
        again.wait_for_workers()
        again.stop()
    assert load.stop() == []


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("query, detail", [
    ("sample=0", "above 0"), ("sample=2", "at most 1"), ("sample=x", "number"), ("body=-1", "body limit"),
    ("body=99999999", "1048576"), ("credentials=show", "mask"), ("mask=query:", "names to mask"), ("mask=a%20b", "names to mask"),
])
def test_a_bad_request_for_a_recording_is_refused(start, query, detail):
    gateway = start(0)
    response = gateway.ask("POST", f"/record?{query}")
    assert response.status == 400
    assert detail in json.loads(response.body)["detail"]


@pytest.mark.parametrize("arguments, message", [
    ([], "which file"), (["--out"], "--out needs a value"), (["--out=x", "--sample", "0"], "--sample does not take '0'"),
    (["--out=x", "--sample=101%"], "--sample does not take"), (["--out=x", "--count=1.5"], "--count does not take"),
    (["--out=x", "--for=soon"], "--for does not take"), (["--out=x", "--body=2m"], "--body does not take"),
    (["--out=x", "--mask=a b"], "--mask does not take"), (["--out=x", "more"], "one argument too many"), (["--bogus"], "no option"),
])
def test_a_wrong_argument_of_record_is_named(arguments, message):
    result = run("record", *arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_a_file_that_cannot_be_written_is_an_error(start):
    gateway = start(0)
    result = gateway.command("record", "--out", "/nowhere/file")
    assert result.returncode == 1
    assert "cannot write /nowhere/file" in result.stderr

# SPDX-License-Identifier: MIT
"""What the documentation shows works as it says: its files are taken from the pages and run."""

import http.client
import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import threading

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
PERIGEE = os.environ.get("PERIGEE", str(TOP / "build/perigee"))


def blocks(page, language="lua"):
    """{file name: code} of the blocks that name their file: in the line above, or in their first line as a comment."""
    text = (TOP / page).read_text()
    named = dict(re.findall(rf"^`([^`\n]+)`\n\n```{language}\n(.*?)^```", text, re.M | re.S))
    for code in re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S):
        first = re.match(r"-- (\S+\.lua)\n", code)
        if first:
            named[first.group(1)] = code
    return named


def write(folder, files):
    for name, code in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def perigee(*arguments):
    result = subprocess.run([PERIGEE, *arguments], capture_output=True, text=True, timeout=60, check=False)
    return result.returncode, result.stdout + result.stderr


class Gateway:
    """`perigee run` (or another command) on a file, until the end of the with block."""

    def __init__(self, path, command="run"):
        self.process = subprocess.Popen([PERIGEE, command, path], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.log, self.ready = [], threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.log.append(line)
            if "ready, generation" in line:
                self.ready.set()
        self.ready.set()

    def __enter__(self):
        assert self.ready.wait(30) and self.process.poll() is None, "".join(self.log)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=40)
        finally:
            self.process.kill()


def get(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response, body


@pytest.fixture
def quickstart(tmp_path):
    """The folder of the quickstart, its port and admin address, with the fixed ports replaced by free ones."""
    files = blocks("docs/quickstart.md")
    port, admin = free_ports(2)
    for name, code in files.items():
        files[name] = code.replace("127.0.0.1:8080", f"127.0.0.1:{port}").replace("127.0.0.1:9901", f"127.0.0.1:{admin}")
    write(tmp_path, files)
    return tmp_path / "shop", port, f"127.0.0.1:{admin}"


def test_the_quickstart_serves_reloads_refuses_and_rolls_back(quickstart):
    folder, port, admin = quickstart
    path = folder / "gateway.lua"
    assert perigee("check", path)[0] == 0
    with Gateway(path):
        response, body = get(port, "/hello/ada", **{"User-Agent": "test"})
        assert (response.status, body) == (200, "hello, ada\n")
        assert response.headers["x-greeting"] == "Good morning"
        assert get(port, "/hello/ada")[0].status == 403

        good = path.read_text()
        path.write_text(good.replace("Good morning", "Good evening"))
        assert perigee("reload", "--admin", admin)[0] == 0
        assert get(port, "/hello/ada", **{"User-Agent": "test"})[0].headers["x-greeting"] == "Good evening"

        path.write_text(good.replace("word =", "wrod ="))
        status, output = perigee("reload", "--admin", admin)
        assert status == 1
        assert "gateway.lua" in output and "wrod" in output and '"word"' in output.replace("'", '"')
        assert get(port, "/hello/ada", **{"User-Agent": "test"})[0].headers["x-greeting"] == "Good evening"

        assert perigee("rollback", "--admin", admin)[0] == 0
        assert get(port, "/hello/ada", **{"User-Agent": "test"})[0].headers["x-greeting"] == "Good morning"


def readme(folder):
    """The files of the README in a folder, listening on a free port; returns the port."""
    port, = free_ports(1)
    files = blocks("README.md")
    files["gateway.lua"] = files["gateway.lua"].replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    write(folder, files)
    return port


def test_the_gateway_of_the_readme_says_hello(tmp_path):
    port = readme(tmp_path)
    assert perigee("check", tmp_path / "gateway.lua")[0] == 0
    with Gateway(tmp_path / "gateway.lua"):
        response, body = get(port, "/hello")
        assert (response.status, body) == (200, "hello\n")
        assert response.headers["x-request-id"]


def test_the_policy_of_the_readme_closes_the_shop_but_not_for_staff(tmp_path):
    port = readme(tmp_path)
    path = tmp_path / "gateway.lua"
    path.write_text(path.read_text().replace('"request_id"', '{ "maintenance", back_at = "noon" }'))
    with Gateway(path):
        response, body = get(port, "/hello")
        assert (response.status, body) == (503, "Back at noon\n")
        assert response.headers["retry-after"] == "600"
        assert get(port, "/hello", **{"X-Staff": "yes"})[1] == "hello\n"


def shell_commands(page):
    """The `perigee` commands of a page, as words."""
    text = (TOP / page).read_text()
    lines = [line for code in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S) for line in code.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("perigee ")]


def test_the_ten_minutes_of_the_policy_guide_work_as_they_say(tmp_path):
    files = blocks("docs/policy-guide.md")
    port, = free_ports(1)
    commands = shell_commands("docs/policy-guide.md")
    assert [command[0] for command in commands] == ["new", "stubs", "test", "check", "check", "explain", "dev"]

    def carry_out(*words):
        result = subprocess.run([PERIGEE, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    for command in commands[:3]:
        carry_out(*command)
    write(tmp_path, {"spec/share_spec.lua": files["spec/share_spec.lua"]})
    result = subprocess.run([PERIGEE, "test"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1  # the spec comes first
    write(tmp_path, {"policies/share/init.lua": files["policies/share/init.lua"]})
    assert "5 successes / 0 failures / 0 errors" in carry_out("test")
    write(tmp_path, {"gateway.lua": files["gateway.lua"].replace("127.0.0.1:8080", f"127.0.0.1:{port}")})
    assert "1 route" in carry_out(*commands[3])
    assert "nothing keeps LuaJIT from compiling them" in carry_out(*commands[4])
    assert "res.headers.x-share-left = 2" in carry_out(*commands[5])
    path = tmp_path / "gateway.lua"
    with Gateway(path, "dev"):
        response, body = get(port, "/hello", **{"x-tenant": "acme"})
        assert (response.status, body, response.headers["x-share-left"]) == (200, "hello\n", "2")
    path.write_text(path.read_text().replace("requests = 3", "requests = 3, dry_run = true"))
    with Gateway(path):
        assert [get(port, "/hello", **{"x-tenant": "acme"})[0].status for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("page", ["quickstart", "policy-guide"])
def test_the_specs_of_the_page_pass(page, tmp_path):
    write(tmp_path, blocks(f"docs/{page}.md"))
    folder = tmp_path / "shop" if page == "quickstart" else tmp_path
    result = subprocess.run([PERIGEE, "test"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 failures / 0 errors / 0 pending" in result.stdout

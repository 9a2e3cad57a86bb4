# SPDX-License-Identifier: MIT
"""`perigee dev`: what it shows in the browser and on the terminal, and that it goes on whatever is saved."""

import html
import json
import os
import pty
import re
import signal
import ssl
import subprocess

import pytest

from support import client, process, wait
from support.gateway import BINARY, Gateway, run

POLICY = """local perigee = require "perigee"
local Closing = perigee.policy { name = "closing", stage = "traffic", schema = { word = { type = "string", default = "a" } } }

function Closing:on_request(req)
    if req.path == "/fail" then
        local nothing -- <b>"quoted" & bold</b>
        return nothing.field
    end
end

function Closing:on_response(_, res)
    res.headers:set("x-word", self.conf.word)
end

return Closing
"""

CONFIG = """return {
    admin = "unix:$dir/admin.sock", listeners = { "127.0.0.1:0" },
    policies = { "closing" },
    routes = {
        { match = { path = "/handler" }, handler = function() error("handled badly") end },
        { name = "all", match = { path = "/*" }, reply = "fine" },
    },
}
"""

SPEC = """local test = require "perigee.test"
it("says the word", function()
    assert.response(test.gateway { policies = { "closing" } }:get "/").has.header("x-word", "a")
end)
"""

BROWSER = [("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")]


@pytest.fixture
def dev(launch):
    def start(config=CONFIG, files=None, **options):
        return launch(config, files={"policies/closing/init.lua": POLICY, **(files or {})}, command="dev", **options)

    return start


def text_of(page):
    """What a reader of the page sees."""
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", "", page.body.decode(), flags=re.S))


def save(gateway, name, old, new):
    path = gateway.folder.path / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def wait_log(gateway, text):
    wait.until(lambda: text in gateway.errors, f"{text!r} was logged")


def wait_specs(gateway, pattern, count=1):
    wait.until(lambda: len(re.findall(pattern, "\n".join(gateway.output))) >= count, f"the specs said {pattern!r}")


# ---------------------------------------------------------------- pages


def test_a_policy_that_fails_is_shown_to_a_browser_with_file_and_line(dev):
    page = dev().get("/fail", BROWSER)
    assert page.status == 503
    assert page.headers.get("content-type") == "text/html; charset=utf-8"
    assert page.headers.get("cache-control") == "no-store"
    text = text_of(page)
    assert "A policy failed" in text
    assert "policies/closing/init.lua:7" in text
    assert "attempt to index local 'nothing' (a nil value)" in text
    assert '6        local nothing -- <b>"quoted" & bold</b>' in text
    assert "<b>&#34;" not in page.body.decode() and "&#60;b&#62;&#34;quoted&#34; &#38; bold" in page.body.decode()


def test_others_get_the_same_as_a_problem_document(dev):
    answer = dev().get("/fail")
    assert answer.status == 503
    assert answer.headers.get("content-type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert (problem["type"], problem["status"]) == ("urn:perigee:policy_failed", 503)
    assert "policies/closing/init.lua:7: attempt to index local 'nothing'" in problem["detail"]
    assert (problem["errors"][0]["file"], problem["errors"][0]["line"]) == ("policies/closing/init.lua", 7)


def test_a_handler_that_fails_is_shown_too(dev):
    page = dev().get("/handler", BROWSER)
    assert page.status == 500
    assert "gateway.lua:5" in text_of(page) and "handled badly" in text_of(page)


def test_run_shows_nothing_of_that(launch):
    gateway = launch(CONFIG, files={"policies/closing/init.lua": POLICY})
    answer = gateway.get("/fail", BROWSER)
    assert answer.status == 503
    assert answer.headers.get("content-type") == "application/problem+json"
    assert b"init.lua" not in answer.body and b"nothing" not in answer.body


def test_other_errors_stay_as_they_are(dev):
    gateway = dev(CONFIG.replace('"/*"', '"/only"'))
    assert json.loads(gateway.get("/absent", BROWSER).body)["type"] == "urn:perigee:no_route"


# ---------------------------------------------------------------- saving


def test_a_save_is_served_at_once(dev):
    gateway = dev()
    assert gateway.get("/").headers.get("x-word") == "a"
    save(gateway, "policies/closing/init.lua", 'default = "a"', 'default = "b"')
    wait.until(lambda: gateway.get("/").headers.get("x-word") == "b", "the policy was reloaded")


def test_a_refused_configuration_is_shown_until_it_is_fixed(dev):
    gateway = dev()
    save(gateway, "gateway.lua", "policies =", "polices =")
    wait_log(gateway, "reload refused")
    page = gateway.get("/", BROWSER)
    text = text_of(page)
    assert page.status == 500
    assert "The configuration is refused" in text
    assert "unknown setting 'polices'; did you mean 'policies'?" in text
    assert "gateway.lua:3" in text and '3    polices = { "closing" },' in text
    problem = json.loads(gateway.get("/").body)
    assert problem["type"] == "urn:perigee:configuration_refused"
    assert problem["detail"] == "gateway.lua:3: polices: unknown setting 'polices'; did you mean 'policies'?"
    assert problem["errors"][0]["line"] == 3
    save(gateway, "gateway.lua", "polices =", "policies =")
    wait.until(lambda: gateway.get("/").status == 200, "it served again")


def test_what_is_wrong_in_a_file_is_escaped_on_the_page(dev):
    gateway = dev()
    save(gateway, "gateway.lua", "policies =", '["<script>alert(1)</script>"] = 1, policies =')
    wait_log(gateway, "reload refused")
    body = gateway.get("/", BROWSER).body
    assert b"<script" not in body and b"&#60;script&#62;alert(1)" in body


def test_a_secret_that_an_error_names_is_not_shown(dev):
    config = CONFIG.replace("return {", 'local key = file "secret.pem"\nreturn {').replace('"handled badly"', '"secret.pem:1: bad", 0')
    page = dev(config, files={"secret.pem": "hidden words"}).get("/handler", BROWSER)
    assert "secret.pem:1: bad" in text_of(page) and "hidden words" not in text_of(page)


def test_a_canary_is_for_other_times(dev):
    gateway = dev(CONFIG.replace("return {", 'return { reload = { canary = "1%", window = "1h" },'))
    save(gateway, "gateway.lua", '"fine"', '"finer"')
    wait.until(lambda: gateway.get("/").body == b"finer", "the change served")


def test_specs_that_a_reload_must_pass_are_on_the_page(dev):
    gateway = dev(CONFIG.replace("return {", "return { reload = { test = true },"), files={"spec/closing_spec.lua": SPEC})
    save(gateway, "spec/closing_spec.lua", '"a"', '"b"')
    wait.until(lambda: "spec/closing_spec.lua:3" in text_of(gateway.get("/", BROWSER)), "the spec was told")
    save(gateway, "spec/closing_spec.lua", '"b"', '"a"')
    wait.until(lambda: gateway.get("/").body == b"fine", "it served again")


def test_all_errors_are_on_one_page(dev):
    gateway = dev()
    save(gateway, "gateway.lua", 'reply = "fine"', 'reply = "fine", a = 1, b = 2')
    wait_log(gateway, "reload refused")
    text = text_of(gateway.get("/", BROWSER))
    assert "routes[2].a" in text and "routes[2].b" in text


@pytest.mark.parametrize("broken", [
    'return { listeners = { { address = "127.0.0.1:0" } }, routes = {',
    'return { listeners = { { address = "127.0.0.1:0" } }, polices = {} }',
    'local settings = require "absent"\nreturn { listeners = { "127.0.0.1:0" } }',
])
def test_it_starts_with_a_broken_file_and_serves_when_that_is_fixed(dev, broken):
    gateway = dev(broken)
    assert gateway.addresses[0].startswith("127.0.0.1:")
    page = gateway.get("/", BROWSER)
    assert page.status == 500
    assert "gateway.lua:" in text_of(page)
    gateway.write("gateway.lua", 'return { listeners = { { address = "127.0.0.1:0" } }, routes = { { reply = "fixed" } } }')
    wait.until(lambda: gateway.get("/").body == b"fixed", "it served")


def test_it_starts_with_a_broken_json_file(dev):
    gateway = dev('{ "listeners": [ "127.0.0.1:0" ], "routes": [ }', name="gateway.json")
    assert "gateway.json:1" in text_of(gateway.get("/", BROWSER))


def test_it_starts_with_a_file_that_never_ends(dev):
    gateway = dev('local listeners = { "127.0.0.1:0" }\nwhile true do end')
    page = text_of(gateway.get("/", BROWSER))
    assert "the CPU budget of 1000 ms is spent" in page and "gateway.lua:2" in page


def test_a_setting_that_needs_a_restart_gets_one(dev):
    gateway = dev()
    save(gateway, "gateway.lua", "admin.sock", "other.sock")
    wait.until(lambda: sum("perigee: ready" in line for line in gateway.lines) == 2, "it started again")
    other = f"unix:{gateway.folder.path}/other.sock"
    assert client.fetch(other, "GET", "/status", [("Host", "x")]).status == 200
    gateway.addresses = re.split(r",\s*", [line for line in gateway.lines if "ready" in line][-1].partition("listening on ")[2])
    assert gateway.get("/").status == 200


# ---------------------------------------------------------------- specs


def test_specs_run_at_the_start_and_on_each_save(dev):
    gateway = dev(files={"spec/closing_spec.lua": SPEC})
    wait_specs(gateway, r"specs 1 passed")
    save(gateway, "spec/closing_spec.lua", '"x-word", "a"', '"x-word", "z"')
    wait_specs(gateway, r"specs 1 of 1 failed:")
    output = "\n".join(gateway.output)
    assert "spec/closing_spec.lua" in output and 'x-word: "z"' in output
    save(gateway, "spec/closing_spec.lua", '"x-word", "z"', '"x-word", "a"')
    wait_specs(gateway, r"specs 1 passed", 2)


def test_a_failing_spec_does_not_hold_a_reload_up(dev):
    gateway = dev(files={"spec/closing_spec.lua": SPEC})
    wait_specs(gateway, r"specs 1 passed")
    save(gateway, "policies/closing/init.lua", 'default = "a"', 'default = "b"')
    wait_specs(gateway, r"specs 1 of 1 failed:")
    wait.until(lambda: gateway.get("/").headers.get("x-word") == "b", "the policy was reloaded")


def test_a_spec_that_appears_is_run(dev):
    gateway = dev()
    gateway.write("spec/closing_spec.lua", SPEC)
    wait_specs(gateway, r"specs 1 passed")


def test_specs_beside_a_policy_are_run_too(dev):
    gateway = dev(files={"policies/closing/closing_spec.lua": SPEC})
    wait_specs(gateway, r"specs 1 passed")
    save(gateway, "policies/closing/closing_spec.lua", '"a"', '"b"')
    wait_specs(gateway, r"specs 1 of 1 failed")


def test_specs_that_cannot_be_loaded_are_told(dev):
    gateway = dev(files={"spec/closing_spec.lua": "it('never ends'"})
    wait_specs(gateway, r"specs .*(failed|could not be run)")
    wait.until(lambda: "closing_spec.lua" in "\n".join(gateway.output), "the file was named")


# ---------------------------------------------------------------- the terminal


def test_an_exchange_is_one_line_for_people(dev):
    gateway = dev()
    gateway.get("/some/path")
    wait.until(lambda: any("/some/path" in line for line in gateway.output), "the line was written")
    line, = [line for line in gateway.output if "/some/path" in line]
    assert re.fullmatch(r"\d\d:\d\d:\d\d 200   GET    /some/path +\d+\.\d\d ms  all", line), line
    assert "\033" not in "\n".join(gateway.output + gateway.lines)


def test_the_time_that_a_handler_spends_is_in_its_line(dev):
    busy = 'local sum = 0 for i = 1, 2e5 do sum = sum + #tostring(i) end'
    gateway = dev(CONFIG.replace('error("handled badly")', busy + ' return reply(200, "x")'))
    gateway.get("/handler")
    wait.until(lambda: any("/handler" in line for line in gateway.output), "the line was written")
    line, = [line for line in gateway.output if "/handler" in line]
    assert float(re.search(r"([\d.]+) ms", line)[1]) > 0


def test_a_peer_cannot_play_with_the_terminal(dev):
    gateway = dev()
    with gateway.connect() as connection:
        connection.send(b"GET /\x7f%1b[31m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        connection.read_response()
    gateway.get("/seen")
    wait.until(lambda: any("/seen" in line for line in gateway.output), "the line was written")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", "\n".join(gateway.output))


@pytest.mark.parametrize("plain", [False, True])
def test_colour_is_for_terminals_that_want_it(folder, plain):
    folder.write("policies/closing/init.lua", POLICY)
    path = folder.write("gateway.lua", CONFIG)
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", **({"NO_COLOR": "1"} if plain else {})}
    child = subprocess.Popen([BINARY, "dev", str(path)], stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    seen = b""
    try:
        while not (ready := re.search(rb"listening on (\S+)\r?\n", seen)):
            seen += os.read(leader, 4096)
        client.fetch(ready.group(1).decode(), "GET", "/", [("Host", "x")])
        while b" ms" not in seen:
            seen += os.read(leader, 4096)
    finally:
        child.send_signal(signal.SIGINT)
        assert child.wait(wait.PATIENCE) == 0
        os.close(leader)
    assert (b"\033[32m200" in seen) != plain


def test_it_is_one_process_that_ctrl_c_ends(dev):
    gateway = dev(CONFIG.replace("return {", "return { workers = 3,"), files={"spec/closing_spec.lua": SPEC})
    wait_specs(gateway, r"specs 1 passed")
    wait.until(lambda: process.children(gateway.pid) == [], "the specs' process had ended")
    gateway.signal(signal.SIGINT)
    assert gateway.wait_exit() == 0


def test_ctrl_c_ends_the_specs_too(dev):
    gateway = dev(files={"spec/slow_spec.lua": "it('loops', function() while true do end end)"})
    child, = wait.until(lambda: process.children(gateway.pid), "the specs ran")
    gateway.signal(signal.SIGINT)
    assert gateway.wait_exit() == 0
    assert not process.is_running(child)


def test_an_address_that_is_taken_is_said(dev, folder):
    gateway = dev()
    path = folder.write("gateway.lua", f'return {{ listeners = {{ "{gateway.address}" }}, routes = {{ {{ reply = "x" }} }} }}')
    result = run("dev", path)
    assert result.returncode == 1
    assert "listeners[1].address" in result.stderr


def test_a_file_that_appears_later_is_served(folder):
    gateway = Gateway("return { listeners = { '127.0.0.1:0' }, routes = { { reply = 'a' } } }", command="dev")
    with gateway:
        (gateway.folder.path / "gateway.lua").unlink()
        wait_log(gateway, "reload refused")
        assert "no such file" in text_of(gateway.get("/", BROWSER))
        gateway.write("gateway.lua", "return { listeners = { '127.0.0.1:0' }, routes = { { reply = 'b' } } }")
        wait.until(lambda: gateway.get("/").body == b"b", "it served again")


# ---------------------------------------------------------------- https


HTTPS = """return {
  listeners = { { address = "127.0.0.1:0", tls = "dev" } },
  routes = { { match = {}, handler = function(req) return reply(200, req.scheme .. " " .. tostring(req.client.tls.server_name)) end } },
}
"""


def shown_certificate(gateway):
    host, _, port = gateway.address.rpartition(":")
    return ssl.get_server_certificate((host, int(port)))


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_https_is_served_with_a_certificate_of_its_own(dev, curl, folder, name):
    gateway = dev(HTTPS)
    trusted = folder.write("dev.pem", shown_certificate(gateway))
    port = gateway.address.rpartition(":")[2]
    command = [curl, "-sS", "--cacert", trusted, "--resolve", f"{name}:{port}:127.0.0.1", "-w", " %{http_version}", f"https://{name}:{port}/"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert shown == f"https {None if name == '127.0.0.1' else name} 2".replace("None", "nil")


def test_the_certificate_stays_the_same_when_a_file_is_saved_and_is_nowhere_on_the_disk(dev):
    gateway = dev(HTTPS)
    before = shown_certificate(gateway)
    save(gateway, "gateway.lua", "req.scheme", '"new " .. req.scheme')
    wait_log(gateway, "generation 2")
    assert shown_certificate(gateway) == before
    assert [path.name for path in gateway.folder.path.rglob("*") if path.suffix in (".pem", ".key")] == []
    assert all(b"PRIVATE" not in path.read_bytes() for path in gateway.folder.path.rglob("*") if path.is_file())


@pytest.mark.parametrize("command", ["check", "run", "gateway", "sidecar"])
def test_nothing_else_serves_that_certificate(folder, command):
    file = folder.write("gateway.lua", HTTPS)
    result = run(command, file)
    assert result.returncode == 1
    assert f'{file}:2: listeners[1].tls: "dev" is for `perigee dev` only; write cert and key' in result.stderr


def test_a_reload_does_not_bring_that_certificate(launch):
    gateway = launch('return { admin = "unix:$dir/admin.sock", listeners = { { address = "127.0.0.1:0" } }, routes = { { reply = "ok" } } }')
    gateway.write("gateway.lua", 'return { admin = "unix:$dir/admin.sock", listeners = { { address = "127.0.0.1:0", tls = "dev" } }, routes = { { reply = "ok" } } }')
    result = gateway.command("reload")
    assert result.returncode == 1
    assert "listeners[1].tls" in result.stderr
    assert gateway.get("/").text() == "ok"


def test_explain_and_test_take_a_configuration_with_that_certificate(folder):
    file = folder.write("gateway.lua", HTTPS.replace('.. " " .. tostring(req.client.tls.server_name)', ""))
    folder.write("gateway_spec.lua", """
      local test = require "perigee.test"
      it("answers", function()
        assert.equal("http", test.load("gateway.lua"):get("/").body)
      end)""")
    assert "200" in run("explain", file, "GET", "https://localhost/").stdout
    result = run("test", folder.path / "gateway_spec.lua", cwd=folder.path)
    assert result.returncode == 0, result.stdout + result.stderr

# SPDX-License-Identifier: MIT
"""What a change must pass before it serves: its specs, and a share of the traffic. And what the history says of it."""

import json
import os
import re
import signal
import threading

import pytest

from support import http1, wait
from support.gateway import run
from support.load import Load, wait_for_answers
from support.metrics import Metrics
from support.upstream import describe

CONFIG = """
local perigee = require "perigee"
return {
  admin = "unix:$dir/admin.sock",
  access_log = "off",
  workers = 2,
  drain = "5s",
  reload = { RELOAD },
  listeners = { { address = "127.0.0.1:0" } },
  upstreams = { origin = { endpoints = { "$origin" } } },
  routes = {
    { name = "version", match = { path = "/version" }, reply = "VERSION" },
    { name = "lua", match = { path = "/lua" }, handler = function(req) HANDLER return reply(STATUS, "VERSION") end },
    { name = "all", match = {}, upstream = "origin" },
  },
}
"""

GOOD_SPEC = """
local test = require "perigee.test"
describe("the shop", function()
  it("is open", function()
    assert.response(test.load("gateway.lua"):get("/lua")).has.status(200)
  end)
end)
"""


def config(version, reload, status=200, handler="", text=CONFIG):
    for name, value in (("VERSION", version), ("RELOAD", reload), ("STATUS", status), ("HANDLER", handler)):
        text = text.replace(name, str(value))
    return text


def results(gateway):
    metrics = Metrics(gateway.ask("GET", "/metrics").text())
    return {labels["result"]: value for name, labels, value in metrics.samples if name == "perigee_reloads_total" and value}


def versions(gateway, requests=24, path="/lua"):
    """What `requests` new connections are answered: with two workers, both of them are asked."""
    return {gateway.get(path).text() for _ in range(requests)}


def newest(gateway):
    return gateway.ask_json("/generations")[0]


def status(gateway):
    return gateway.ask_json("/status")


def begin_canary(gateway, text):
    gateway.write("gateway.lua", text)
    response = gateway.ask("POST", "/reload")
    assert response.status == 202, response.text()
    return json.loads(response.body)


def wait_for_end(gateway):
    wait.until(lambda: status(gateway)["reload"] == "idle", "the canary had ended")


# ---------------------------------------------------------------- specs

TESTED = 'test = true, test_timeout = "1s"'


@pytest.fixture
def tested(origin, launch):
    return launch(config(1, TESTED), files={"spec/shop_spec.lua": GOOD_SPEC}, values={"origin": origin.address})


def refused(gateway):
    """A reload that must be refused: its errors."""
    response = gateway.ask("POST", "/reload")
    body = json.loads(response.body)
    assert (response.status, body["generation"]) == (422, 1), body
    assert versions(gateway, 4) == {"1"}
    return body["errors"]


def test_a_change_whose_specs_pass_serves(tested):
    tested.reload(config(2, TESTED))
    assert versions(tested) == {"2"}
    assert newest(tested)["state"] == "serving"


def test_a_failing_spec_refuses_the_change_with_its_name_and_line(tested):
    tested.write("gateway.lua", config(2, TESTED, status=503))
    (error,) = refused(tested)
    assert (error["file"], error["line"]) == ("spec/shop_spec.lua", 5)
    assert "'the shop is open' fails" in error["message"]
    result = tested.command("reload")
    assert result.returncode == 1
    assert "spec/shop_spec.lua:5: the spec 'the shop is open' fails" in result.stderr
    assert results(tested) == {"refused": 2}
    tested.reload(config(3, TESTED))
    assert versions(tested) == {"3"}


def test_every_failing_spec_is_told(tested):
    tested.write("spec/more_spec.lua", """describe("more", function()
  it("passes", function() end)
  it("raises", function() error("no bread") end)
  it("compares", function() assert.equal(3, 1 + 1) end)
end)""")
    tested.write("spec/broken_spec.lua", "it('lacks an end', function(")
    errors = refused(tested)
    assert [(error["file"], error["line"]) for error in sorted(errors, key=lambda error: (error["file"], error["line"]))] == [
        ("spec/broken_spec.lua", 1), ("spec/more_spec.lua", 3), ("spec/more_spec.lua", 4)]
    assert any("'more raises' fails: no bread" in error["message"] for error in errors)


def test_a_spec_that_does_not_end_is_killed_and_named(tested):
    tested.write("spec/loop_spec.lua", 'describe("the loop", function()\n  it("goes round", function() while true do end end)\nend)')
    (error,) = refused(tested)
    assert (error["file"], error["line"]) == ("spec/loop_spec.lua", 2)
    assert "'the loop goes round' did not end" in error["message"]


def test_a_spec_that_crashes_the_process_is_named(tested):
    tested.write("spec/crash_spec.lua", 'local ffi = require "ffi"\nit("crashes", function() ffi.cdef "int raise(int signal);" ffi.C.raise(9) end)')
    (error,) = refused(tested)
    assert (error["file"], error["line"]) == ("spec/crash_spec.lua", 2)
    assert "'crashes' ended the process by signal 9" in error["message"]


def test_a_spec_that_ends_the_process_does_not_pass(tested):
    tested.write("spec/exit_spec.lua", 'it("leaves", function() os.exit(0) end)')
    assert refused(tested)


def test_a_configuration_without_specs_is_refused(tested):
    (tested.folder.path / "spec/shop_spec.lua").unlink()
    (error,) = refused(tested)
    assert "there is no spec" in error["message"]
    tested.write("spec/empty_spec.lua", "-- nothing")
    (error,) = refused(tested)
    assert "no test" in error["message"]


def test_specs_may_stand_beside_their_policies_and_have_helpers(tested):
    tested.write("policies/calm/init.lua", 'return require("perigee").policy { name = "calm", stage = "observe", schema = {} }')
    tested.write("policies/calm/calm_spec.lua", """
local numbers = require "support.numbers"
it("counts", function() assert.equal(2, numbers.two) end)
""")
    tested.write("support/numbers.lua", "return { two = 3 }")
    (error,) = refused(tested)
    assert (error["file"], error["line"]) == ("policies/calm/calm_spec.lua", 3)
    tested.write("support/numbers.lua", "return { two = 2 }")
    tested.reload()
    files = {change["file"] for change in newest(tested)["changes"]}
    assert {"policies/calm/calm_spec.lua", "support/numbers.lua"} <= files


def test_what_specs_print_is_not_in_the_access_log(origin, launch):
    text = config(1, TESTED).replace('access_log = "off",', "")
    gateway = launch(text, files={"spec/shop_spec.lua": GOOD_SPEC + 'print("printed by a spec")\n'}, values={"origin": origin.address})
    gateway.get("/version")
    wait.until(lambda: gateway.output, "the request was logged")
    assert all(line.startswith("{") for line in gateway.output)
    assert "printed by a spec" in gateway.errors


def test_a_start_is_refused_as_a_reload_is(folder):
    folder.write("gateway.lua", config(1, TESTED, status=500), origin="127.0.0.1:1")
    folder.write("spec/shop_spec.lua", GOOD_SPEC)
    result = run("run", folder.path / "gateway.lua")
    assert result.returncode == 1
    assert f"{folder.path}/spec/shop_spec.lua:5: the spec 'the shop is open' fails" in result.stderr


def test_check_runs_no_specs(folder):
    folder.write("gateway.lua", config(1, TESTED, status=500), origin="127.0.0.1:1")
    assert run("check", folder.path / "gateway.lua").returncode == 0


# ---------------------------------------------------------------- the canary

CANARY = 'canary = "5%", window = "60s", max_errors = "2%", max_slowdown = 2'
QUICK = 'canary = "50%", window = "1s"'


@pytest.fixture(params=[2, 0], ids=["workers", "single"])
def gateway(request, origin, launch):
    return launch(config(1, CANARY).replace("workers = 2", f"workers = {request.param}"), values={"origin": origin.address})


@pytest.fixture
def steady(origin, launch):
    """One worker, so that it is known which exchange the canary gets: every second one with a share of 50 %."""
    return launch(config(1, CANARY, text=CONFIG.replace("workers = 2", "workers = 1")), values={"origin": origin.address})


def as_launched(gateway, text):
    workers = len(gateway.workers())
    return text.replace("workers = 2", "workers = 2" if workers == 2 else "workers = 0")


def stop_all(loads):
    return [failure for load in loads for failure in load.stop()]


def test_a_canary_that_answers_500_is_given_up_by_itself(gateway):
    loads = [Load(gateway, ["/lua"]) for _ in range(4)]
    wait_for_answers(loads)
    before = sum(load.answers for load in loads)
    gateway.write("gateway.lua", as_launched(gateway, config(2, CANARY, status=500)))
    result = gateway.command("reload")
    failures = stop_all(loads)
    answers = sum(load.answers for load in loads) - before
    assert result.returncode == 1
    assert "generation 2 is rolled back" in result.stderr and "failed (100.0 %)" in result.stderr
    assert {failure.status for failure in failures} == {500}
    assert 2 <= len(failures) <= 0.05 * answers + 2, (len(failures), answers)  # each of two workers begins with one
    assert versions(gateway) == {"1"}
    entry = newest(gateway)
    assert (entry["generation"], entry["state"], entry["is_kept"]) == (2, "rolled back", False)
    counted = int(re.search(r"(\d+) of \1 exchanges of generation 2 failed", entry["reason"]).group(1))
    assert counted <= len(failures) <= counted + len(loads)  # what was under way at the verdict failed too
    assert results(gateway) == {"canary_rolled_back": 1}
    assert (status(gateway)["reload"], status(gateway)["generation"]) == ("idle", 1)


def test_a_slow_canary_is_given_up_by_itself(gateway):
    loads = [Load(gateway, ["/lua"]) for _ in range(4)]
    wait_for_answers(loads)
    gateway.write("gateway.lua", as_launched(gateway, config(2, CANARY, handler="perigee.sleep(0.25)")))
    result = gateway.command("reload")
    assert stop_all(loads) == []
    assert result.returncode == 1
    assert "took longer than" in result.stderr
    assert versions(gateway) == {"1"}


def test_a_good_canary_is_promoted_when_its_window_is_over(gateway):
    loads = [Load(gateway, ["/lua", "/version", "/through"]) for _ in range(4)]
    wait_for_answers(loads)
    gateway.write("gateway.lua", as_launched(gateway, config(2, QUICK)))
    result = gateway.command("reload")
    assert stop_all(loads) == []
    assert (result.returncode, result.stdout.split("\n")[1]) == (0, "generation 2 serves"), result.stdout + result.stderr
    assert versions(gateway) == {"2"}
    assert [entry["state"] for entry in gateway.ask_json("/generations")] == ["serving", "superseded"]
    assert results(gateway) == {"ok": 1}


def test_the_canary_gets_exactly_its_share(steady):
    body = begin_canary(steady, config(2, CANARY, text=CONFIG.replace("workers = 2", "workers = 1")))
    assert body == {"generation": 1, "canary": 2}
    with steady.connect() as kept:
        answers = [kept.get("/lua").text() for _ in range(400)]
    assert answers.count("2") == 20
    assert [i for i, answer in enumerate(answers) if answer == "2"] == list(range(19, 400, 20))
    canary = status(steady)["canary"]
    assert (canary["generation"], canary["begun"], canary["ended"], canary["errors"], canary["share"]) == (2, 20, 20, 0, 0.05)
    assert (canary["serving"]["generation"], canary["serving"]["ended"]) == (1, 380)
    assert "canary: generation 2" in steady.command("status").stdout


def test_a_canary_whose_exchanges_do_not_end_is_given_up(steady):
    text = CONFIG.replace("workers = 2", "workers = 1")
    begin_canary(steady, config(2, 'canary = "50%", window = "3s"', handler="perigee.sleep(60)", text=text))
    clients = [steady.connect() for _ in range(40)]
    for client in clients:
        client.send_request("GET", "/lua")
    wait_for_end(steady)
    for client in clients:
        client.close()
    entry = newest(steady)
    assert entry["state"] == "rolled back"
    assert "20 of 20 exchanges of generation 2 have not ended, and 0 of 20 of generation 1" in entry["reason"]


def test_without_traffic_a_canary_is_promoted(steady):
    begin_canary(steady, config(2, QUICK, text=CONFIG.replace("workers = 2", "workers = 1")))
    wait_for_end(steady)
    assert versions(steady, 3) == {"2"}


def test_errors_that_the_old_generation_has_too_are_forgiven(origin, launch):
    text = CONFIG.replace("workers = 2", "workers = 1")
    gateway = launch(config(1, QUICK, status=500, text=text), values={"origin": origin.address})
    begin_canary(gateway, config(2, QUICK, status=500, text=text))
    for _ in range(40):
        gateway.get("/lua")
    wait_for_end(gateway)
    assert newest(gateway)["state"] == "serving"


def test_a_second_reload_during_a_canary_is_refused_and_a_signal_is_remembered(steady):
    text = CONFIG.replace("workers = 2", "workers = 1")
    begin_canary(steady, config(2, 'canary = "50%", window = "3s"', text=text))
    assert steady.ask("POST", "/reload").status == 409
    assert steady.ask("POST", "/rollback?generation=1").status == 409
    steady.write("gateway.lua", config(3, "", text=text))
    steady.signal(signal.SIGHUP)
    wait.until(lambda: status(steady)["generation"] == 3, "the change was taken over after the canary")
    assert versions(steady, 3) == {"3"}


def test_a_rollback_during_a_canary_gives_it_up(steady):
    begin_canary(steady, config(2, CANARY, text=CONFIG.replace("workers = 2", "workers = 1")))
    result = steady.command("rollback")
    assert (result.returncode, result.stdout) == (0, "generation 1 serves\n")
    assert newest(steady)["state"] == "rolled back"
    with steady.connect() as kept:
        assert {kept.get("/lua").text() for _ in range(40)} == {"1"}


def test_a_reload_that_does_not_wait_returns_at_once(steady):
    steady.write("gateway.lua", config(2, CANARY, text=CONFIG.replace("workers = 2", "workers = 1")))
    result = steady.command("reload", "--no-wait")
    assert (result.returncode, result.stdout) == (0, "generation 2 is tried on a share of the exchanges\n")
    assert status(steady)["reload"] == "canary"


def test_a_worker_that_is_killed_comes_back_with_both_generations(origin, launch):
    gateway = launch(config(1, CANARY), values={"origin": origin.address})
    begin_canary(gateway, config(2, 'canary = "50%", window = "6s"'))
    old = gateway.workers()[0]
    os.kill(old, signal.SIGKILL)
    gateway.wait_replaced(old)
    assert status(gateway)["reload"] == "canary"
    seen = {}

    def both_have_both():
        with gateway.connect() as kept:
            answers = frozenset(kept.get("/lua").text() for _ in range(4))
        seen[answers] = seen.get(answers, 0) + 1
        return seen.get(frozenset("12"), 0) >= 12

    wait.until(both_have_both, "connections of both workers saw both generations")
    assert set(seen) == {frozenset("12")}
    wait_for_end(gateway)
    assert versions(gateway) == {"2"}
    assert {worker["generation"] for worker in status(gateway)["workers"]} == {2}


def test_a_canary_whose_workers_die_again_and_again_is_given_up(origin, launch):
    gateway = launch(config(1, CANARY), values={"origin": origin.address})
    begin_canary(gateway, config(2, CANARY))
    for _ in range(3):
        old = gateway.workers()[0]
        os.kill(old, signal.SIGKILL)
        gateway.wait_replaced(old)
    wait_for_end(gateway)
    assert "3 workers ended" in newest(gateway)["reason"]
    assert versions(gateway) == {"1"}


def test_tunnels_and_downloads_survive_whatever_becomes_of_a_canary(steady, origin):
    go_on = threading.Event()

    def answer(wire, request):
        if request.target == "/tunnel":
            wire.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")], "Switching Protocols")
            while (data := wire.read_some()):
                wire.send(data)
            raise http1.Closed
        wire.send_head(200, [("Content-Length", "2000000")])
        wire.send(b"x" * 1000000)
        assert go_on.wait(wait.PATIENCE)
        wire.send(b"y" * 1000000)

    origin.answer = answer
    text = CONFIG.replace("workers = 2", "workers = 1")
    open_ones = []

    def begin(kind):
        client = steady.connect()
        if kind == "tunnel":
            assert client.request("GET", "/tunnel", [("Connection", "Upgrade"), ("Upgrade", "websocket")]).status == 101
        else:
            client.send_request("GET", "/download")
            client.read_head()
        open_ones.append((kind, client))

    def check_tunnels():
        for kind, client in open_ones:
            if kind == "tunnel":
                client.send(b"still here")
                assert client.read_exactly(10) == b"still here"

    begin("tunnel")
    begin("download")
    begin_canary(steady, config(2, 'canary = "50%", window = "60s"', text=text))
    for kind in ("tunnel", "tunnel", "download", "download"):  # one of each on the canary
        begin(kind)
    assert status(steady)["canary"]["begun"] == 2
    assert steady.command("rollback").returncode == 0
    check_tunnels()
    begin_canary(steady, config(3, QUICK, text=text))
    for kind in ("tunnel", "tunnel", "download", "download"):
        begin(kind)
    wait_for_end(steady)
    assert status(steady)["generation"] == 3
    check_tunnels()
    go_on.set()
    for kind, client in open_ones:
        if kind == "download":
            assert client.read_exactly(2000000) == b"x" * 1000000 + b"y" * 1000000
        client.close()


def test_draining_ends_a_canary(origin, launch):
    go_on = threading.Event()

    def answer(wire, request):
        assert go_on.wait(wait.PATIENCE)
        describe(wire, request)

    origin.answer = answer
    gateway = launch(config(1, CANARY), values={"origin": origin.address})
    begin_canary(gateway, config(2, CANARY))
    with gateway.connect() as slow:
        slow.send_request("GET", "/slow")
        origin.wait_for_heads(1)
        assert gateway.command("drain").returncode == 0
        assert (status(gateway)["state"], "canary" in status(gateway)) == ("draining", False)
        go_on.set()
        assert slow.read_response().status == 200
    assert gateway.wait_exit() == 0


WRONG = {
    'canary = "5"': "reload.canary",
    'canary = "60%"': "reload.canary",
    'canary = "0%"': "reload.canary",
    'window = "0s"': "reload.window",
    'max_errors = "101%"': "reload.max_errors",
    "max_slowdown = 0.5": "reload.max_slowdown",
    "tests = true": "did you mean 'test'?",
}


@pytest.mark.parametrize("setting", WRONG)
def test_a_wrong_setting_is_named(folder, setting):
    folder.write("gateway.lua", config(1, setting), origin="127.0.0.1:1")
    result = run("check", folder.path / "gateway.lua")
    assert result.returncode == 1
    assert WRONG[setting] in result.stderr


# ---------------------------------------------------------------- the history


@pytest.fixture
def past(origin, launch):
    """Four generations, the third a rollback, and two attempts that came to nothing."""
    gateway = launch(config(1, "", text=CONFIG.replace('reply = "VERSION"', 'reply = file "secret.txt"')),
                     files={"secret.txt": "hush-one"}, values={"origin": origin.address})
    gateway.write("secret.txt", "hush-two")
    gateway.reload(config(2, "", text=CONFIG.replace('reply = "VERSION"', 'reply = file "secret.txt"')))
    assert gateway.command("rollback").returncode == 0
    gateway.write("gateway.lua", "return 7")
    assert gateway.command("reload").returncode == 1
    gateway.write("gateway.lua", config(4, "").replace("workers = 2", "workers = 3"))
    assert gateway.command("reload").returncode == 1
    gateway.reload(config(5, ""))
    return gateway


def test_the_history_says_what_became_of_every_attempt(past):
    entries = past.ask_json("/generations")
    assert [(entry["generation"], entry["state"], entry["is_current"], entry["is_kept"]) for entry in entries] == [
        (5, "serving", True, True), (4, "refused", False, False), (None, "refused", False, False),
        (3, "superseded", False, True), (2, "superseded", False, True), (1, "superseded", False, True)]
    assert entries[3]["rollback_to"] == 1
    assert entries[3]["digest"] == entries[5]["digest"] != entries[4]["digest"]
    assert "a change of this setting needs a restart" in entries[1]["reason"]
    assert entries[2]["reason"].startswith("gateway.lua")
    assert [entry.get("before") for entry in entries] == [3, 3, 3, 2, 1, None]
    assert all(entry["made_ms"] > 1600000000000 for entry in entries)


def test_the_history_says_which_files_changed(past):
    entries = past.ask_json("/generations")
    assert "changes" not in entries[5]
    assert entries[4]["changes"] == [{"file": "gateway.lua", "change": "changed", "added": 1, "removed": 1},
                                     {"file": "secret.txt", "change": "changed", "is_secret": True}]
    assert entries[0]["changes"][-1] == {"file": "secret.txt", "change": "removed", "is_secret": True}


def test_a_diff_shows_lines_and_no_secrets(past):
    diff = past.ask("GET", "/generations/diff?generation=2").text()
    lines = diff.split("\n")
    assert lines[:2] == ["--- a/gateway.lua", "+++ b/gateway.lua"]
    assert any(line.startswith("-") and 'reply(200, "1")' in line for line in lines)
    assert any(line.startswith("+") and 'reply(200, "2")' in line for line in lines)
    assert "Secret file secret.txt differs" in lines
    assert "hush" not in diff
    assert past.command("generations", "2").stdout == diff
    assert past.ask("GET", "/generations/diff?generation=99").status == 404
    assert past.ask("GET", "/generations/diff").status == 400
    assert past.command("generations", "x").returncode == 2


def test_the_command_prints_the_history_for_people(past):
    result = past.command("generations")
    lines = result.stdout.split("\n")
    assert result.returncode == 0
    assert lines[0].split() == ["generation", "state", "made", "(UTC)", "digest"]
    assert lines[1].split()[:2] == ["5", "serving"]
    assert any(line.split()[:2] == ["4x", "refused"] for line in lines)
    assert any(line.split()[:2] == ["-x", "refused"] for line in lines)
    assert any(line.strip() == "secret.txt changed" for line in lines)
    assert json.loads(past.command("generations", "--json").stdout)[0]["generation"] == 5


def test_a_rollback_goes_to_a_generation_that_the_history_keeps(past):
    assert past.command("rollback", "4").returncode == 1
    assert past.command("rollback", "2").returncode == 0
    assert versions(past, 4) == {"2"}
    assert (newest(past)["generation"], newest(past)["rollback_to"]) == (6, 2)


def test_the_history_is_bounded(origin, launch):
    gateway = launch(config(1, ""), values={"origin": origin.address})
    gateway.write("gateway.lua", "return 7")
    for _ in range(70):
        gateway.ask("POST", "/reload")
    entries = gateway.ask_json("/generations")
    assert 64 <= len(entries) <= 65
    assert entries[-1]["state"] == "serving"

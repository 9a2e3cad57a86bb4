# SPDX-License-Identifier: MIT
"""`perigee test` as its users meet it: outside of our tree, with reports for machines, coverage, and watching."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import xml.etree.ElementTree

import pytest

from support import program, wait
from support.gateway import BINARY, run

CLOSING = """local perigee = require "perigee"

local Closing = perigee.policy {
    name = "closing",
    stage = "traffic",
    schema = { from = { type = "integer", default = 22 } },
}

local function is_late(self)
    return tonumber(os.date "!%H") >= self.conf.from
end

function Closing:on_request(req)
    perigee.sleep(0.1)
    if is_late(self) then
        return perigee.reply(503)
    elseif req.path == "/never" then
        local unused = req.path
        return perigee.reply(404, unused)
    end
end

return Closing
"""

PASSING = """
local test = require "perigee.test"
it("serves by day", function()
    local gw = test.gateway { policies = { "closing" } }
    assert.response(gw:get "/").has.status(200)
end)
"""

# What has to be escaped somewhere: XML, YAML, TAP, terminals, UTF-8.
HOSTILE = r'''<a b="c" & 'd'>]]> # not \\ ok\n  ---\t\0\27[31m\255\237\160\128 é'''
HOSTILE_SPEC = f"""
describe("names", function()
    it("{HOSTILE.replace('"', chr(92) + '"')}", function()
        error("{HOSTILE.replace('"', chr(92) + '"')}")
    end)
    it("passes", function() end)
    it("is skipped", function() pending("later # really") end)
end)
"""


def specs(folder, *arguments, **options):
    return run("test", *arguments, cwd=folder.path, **options)


def project(folder, **files):
    folder.write("policies/closing/init.lua", CLOSING)
    folder.write("spec/closing_spec.lua", PASSING)
    for name, text in files.items():
        folder.write(f"spec/{name}_spec.lua", text)


# ---------------------------------------------------------------- outside of our tree


@pytest.fixture
def bare():
    """An environment with nothing in it that could lead to our sources or to modules of the user's."""
    return {"PATH": "/usr/bin:/bin"}


def test_a_policy_author_needs_the_binary_and_busted_only(folder, bare):
    binary = folder.path / "perigee"
    shutil.copy(BINARY, binary)
    home = folder.path / "project"
    home.mkdir()
    options = {"cwd": home, "env": bare, "capture_output": True, "text": True, "timeout": 3 * wait.PATIENCE, "check": False}
    made = subprocess.run([binary, "new", "policy", "closing"], **options)
    assert made.returncode == 0, made.stderr
    result = subprocess.run([binary, "test", "--coverage", "--min", "90%"], **options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 successes / 0 failures / 0 errors" in result.stdout
    assert re.search(r"^  policies/closing/init\.lua +100\.0%  (\d+) of \1$", result.stdout, re.M), result.stdout
    assert sorted(p.name for p in home.rglob("*") if p.is_file()) == ["README.md", "closing_spec.lua", "init.lua"]


def test_specs_run_in_a_folder_that_cannot_be_written(folder, bare):
    project(folder)
    paths = [folder.path, *folder.path.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        result = specs(folder, "--coverage", "--tap", env=bare)
        assert result.returncode == 0, result.stdout + result.stderr
        if os.geteuid() != 0:
            result = specs(folder, "--junit", "out.xml", env=bare)
            assert (result.returncode, result.stdout) == (2, "")
            assert "the file of --junit cannot be written: out.xml: Permission denied" in result.stderr
    finally:
        for path in paths:
            path.chmod(path.stat().st_mode | 0o200)


def test_a_folder_of_specs_may_stand_anywhere(folder, bare):
    project(folder)
    result = run("test", folder.path / "spec", env=bare)
    assert result.returncode == 0, result.stdout + result.stderr


# ---------------------------------------------------------------- JUnit


def junit(folder, *arguments):
    result = specs(folder, "--junit", "out/report.xml", *arguments)
    return result, xml.etree.ElementTree.parse(folder.path / "out/report.xml").getroot()


@pytest.fixture
def reports(folder):
    (folder.path / "out").mkdir()
    return folder


def test_junit_tells_names_times_and_places(reports):
    project(reports, failing="""
        describe("outer", function()
            it("fails", function()
                assert.equal(1, 2)
            end)
        end)
    """)
    result, root = junit(reports)
    assert result.returncode == 1
    assert "1 success / 1 failure" in result.stdout  # the report is beside what people read
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("testsuites", "2", "1", "0", "0")
    suites = {suite.get("name"): suite for suite in root}
    assert sorted(suites) == ["spec/closing_spec.lua", "spec/failing_spec.lua"]
    (case,) = suites["spec/failing_spec.lua"]
    assert (case.get("name"), case.get("classname"), case.get("file"), case.get("line")) == ("outer fails", "spec.failing_spec", "spec/failing_spec.lua", "3")
    assert 0 <= float(case.get("time")) < wait.PATIENCE
    (failure,) = case
    assert failure.tag == "failure"
    assert failure.text.startswith("spec/failing_spec.lua:4: Expected objects to be equal.")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suites["spec/failing_spec.lua"].get("timestamp"))


def test_junit_is_well_formed_whatever_tests_are_called(reports):
    reports.write("spec/hostile_spec.lua", HOSTILE_SPEC)
    _, root = junit(reports)
    hostile, passed, skipped = root[0]
    assert hostile.get("name") == "names <a b=\"c\" & 'd'>]]> # not \\ ok\n  ---\t\\x00\\x1B[31m\\xFF\\xED\\xA0\\x80 é"
    assert hostile[0].text == "spec/hostile_spec.lua:4: " + hostile.get("name")[len("names "):]
    assert (passed.get("name"), list(passed)) == ("names passes", [])
    assert (skipped[0].tag, skipped[0].get("message")) == ("skipped", "spec/hostile_spec.lua:7: later # really")


def test_junit_has_what_goes_wrong_around_tests(reports):
    project(reports, broken="it('x', function()\n", outer="""
        describe("outer", function()
            describe("inner", function()
                setup(function() error("no setup") end)
                it("is not reached", function() end)
            end)
        end)
    """, each="""
        before_each(function() error("no start") end)
        it("is not reached", function() end)
    """, left="""
        local test = require "perigee.test"
        it("is careless", function()
            test.gateway({ upstreams = { api = test.fail.hang } }):send { path = "/lost" }
        end)
    """, body="error 'in the file'")
    result, root = junit(reports)
    assert result.returncode == 1
    told = {suite.get("name"): [(case.get("name"), case.get("line"), case[0].text) for case in suite if len(case)] for suite in root}
    (broken,) = told["spec/broken_spec.lua"]
    assert broken[:2] == ("spec/broken_spec.lua", "2")
    assert broken[2].startswith("spec/broken_spec.lua:2: 'end' expected")
    assert told["spec/outer_spec.lua"] == [("outer inner setup", "4", "spec/outer_spec.lua:4: no setup")]
    assert told["spec/each_spec.lua"] == [("before_each", "2", "spec/each_spec.lua:2: no start")]
    assert told["spec/body_spec.lua"] == [("spec/body_spec.lua", "1", "spec/body_spec.lua:1: in the file")]
    ((name, line, text),) = told["spec/left_spec.lua"]
    assert (name, line) == ("is careless", "3")
    assert "GET /lost was sent and neither waited for nor aborted (spec/left_spec.lua:4)" in text
    assert told["spec/closing_spec.lua"] == []


def test_a_report_that_cannot_be_written_is_told_before_anything_runs(folder):
    folder.write("spec/a_spec.lua", "print 'loaded'")
    result = specs(folder, "--junit=nowhere/report.xml")
    assert (result.returncode, result.stdout) == (2, "")
    assert "the file of --junit cannot be written: nowhere/report.xml: No such file or directory" in result.stderr


def test_a_report_that_does_not_fit_is_a_failure(folder):
    project(folder)
    result = specs(folder, "--junit=/dev/full")
    assert result.returncode == 1
    assert "a report cannot be written" in result.stderr


# ---------------------------------------------------------------- TAP


def test_tap_has_a_line_for_each_test(folder):
    folder.write("spec/hostile_spec.lua", HOSTILE_SPEC)
    result = specs(folder, "--tap")
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "TAP version 13"
    assert lines[-1] == "1..3"
    points = [line for line in lines if re.match(r"(not )?ok ", line)]
    name = "names <a b=\"c\" & 'd'>]]> \\# not \\\\ ok   --- \\\\x00\\\\x1B[31m\\\\xFF\\\\xED\\\\xA0\\\\x80 é"
    assert points == [f"not ok 1 - {name}", "ok 2 - names passes", "ok 3 - names is skipped # SKIP spec/hostile_spec.lua:7: later # really"]
    (message,) = [line for line in lines if line.startswith("    - message: ")]
    assert json.loads(message.partition(": ")[2]).startswith("spec/hostile_spec.lua:4: <a b=")
    assert '  at: "spec/hostile_spec.lua:3"' in lines


def test_prove_reads_it(folder):
    prove = program.need("prove")
    project(folder, hostile=HOSTILE_SPEC, broken="this is no Lua")
    (folder.path / "out.tap").write_text(specs(folder, "-o", "tap", "--coverage").stdout)
    result = subprocess.run([prove, "-e", "cat", "out.tap"], cwd=folder.path, capture_output=True, text=True, check=False)
    assert "Failed 2/5 subtests" in result.stdout, result.stdout + result.stderr
    assert "Parse errors" not in result.stdout


# ---------------------------------------------------------------- coverage


def test_coverage_names_the_lines_that_did_not_run(folder):
    project(folder)
    result = specs(folder, "--coverage")
    assert result.returncode == 0
    assert re.search(r"^  policies/closing/init\.lua +\d\d\.\d%  \d+ of \d+; not run: 16, 18-19$", result.stdout, re.M), result.stdout
    assert re.search(r"^  total ", result.stdout, re.M)


def test_coverage_sees_code_in_coroutines_and_loops_that_would_be_compiled(folder):
    folder.write("policies/hot/init.lua", """local perigee = require "perigee"
local Hot = perigee.policy { name = "hot", stage = "observe" }
local function sum(n)
    local total = 0
    for i = 1, n do
        total = total + i
    end
    return total
end
function Hot:on_log()
    perigee.timer.after(1, function()
        perigee.shared("hot"):set("sum", sum(1000))
    end)
end
return Hot
""")
    folder.write("spec/hot_spec.lua", """
        local test = require "perigee.test"
        it("adds up", function()
            local gw = test.gateway { policies = { "hot" } }
            gw:get "/"
            gw:advance(1)
        end)
    """)
    result = specs(folder, "--lcov=out.info")
    assert result.returncode == 0, result.stdout
    assert re.search(r"^  policies/hot/init\.lua +100\.0%", result.stdout, re.M), result.stdout
    counts = dict(re.findall(r"^DA:(\d+),(\d+)$", (folder.path / "out.info").read_text(), re.M))
    assert counts["6"] == "1000"
    assert int(counts["12"]) >= 1  # a call on the line counts when it comes back


def test_coverage_goes_on_when_a_spec_has_used_the_hook(folder):
    project(folder, a="""
        it("takes the hook away", function() debug.sethook() end)
    """)
    result = specs(folder, "--coverage", "--sort")
    assert "not run: 16, 18-19" in result.stdout, result.stdout


def test_coverage_counts_policies_that_no_spec_loads(folder):
    project(folder)
    folder.write("policies/forgotten/init.lua", "local a = 1\n\nreturn a\n")
    folder.write("policies/forgotten/other_spec.lua", "return 1")
    result = specs(folder, "--coverage")
    assert re.search(r"^  policies/forgotten/init\.lua +0\.0%  0 of 2; not run: 1-3$", result.stdout, re.M), result.stdout
    assert "other_spec" not in result.stdout


def test_coverage_is_of_files_on_disk_only(folder):
    project(folder, texts="""
        local test = require "perigee.test"
        it("has another policy of that name, and a shipped one", function()
            local files = { ["policies/closing/init.lua"] = [[
                local perigee = require "perigee"
                return perigee.policy { name = "closing", stage = "auth" }
            ]] }
            local gw = test.gateway({ policies = { "closing", "request_id" } }, { files = files })
            gw:get "/"
        end)
    """)
    result = specs(folder, "--coverage")
    assert "not run: 16, 18-19" in result.stdout
    assert "request_id" not in result.stdout


def test_coverage_has_the_configuration_too(folder):
    folder.write("shop/gateway.lua", """return {
    routes = {
        { handler = function()
            return reply(200, "ok")
        end },
    },
}
""")
    folder.write("spec/shop_spec.lua", """
        local test = require "perigee.test"
        it("serves", function() assert.response(test.load("shop/gateway.lua"):get "/").has.body "ok" end)
    """)
    result = specs(folder, "--coverage")
    assert re.search(r"gateway\.lua +100\.0%", result.stdout), result.stdout


def test_too_little_coverage_is_a_failure(folder):
    project(folder)
    result = specs(folder, "--min", "99.5%")
    assert result.returncode == 1
    assert re.search(r"^perigee: \d\d\.\d% of the lines are covered, less than --min 99\.5%$", result.stderr, re.M)
    assert specs(folder, "--coverage", "--min=50").returncode == 0


def test_coverage_of_nothing_is_too_little(folder):
    folder.write("spec/a_spec.lua", 'it("passes", function() end)')
    result = specs(folder, "--min=1")
    assert result.returncode == 1
    assert "nothing is covered, less than --min 1%" in result.stderr


def test_lcov_reads_it(folder):
    lcov = program.need("lcov")
    project(folder)
    assert specs(folder, "--lcov=out.info").returncode == 0
    result = subprocess.run([lcov, "--summary", "out.info"], cwd=folder.path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


# ---------------------------------------------------------------- what is run


def test_a_filter_chooses_by_name(folder):
    project(folder, other='describe("a", function() it("b c", function() end) it("d", function() end) end)')
    result = specs(folder, "--filter", "^a b")
    assert "1 success / 0 failures" in result.stdout


def test_a_list_runs_nothing(folder):
    folder.write("spec/a_spec.lua", """describe("a", function()
        it("b", function() error "run" end)
    end)""")
    result = specs(folder, "--list")
    assert (result.returncode, result.stdout) == (0, "spec/a_spec.lua:2: a b\n")


@pytest.mark.parametrize("arguments, message", [
    (["--filter=nobody"], "there is no such test"), (["absent"], "there is no such test"),
    (["--filter=["], "--filter expects a Lua pattern"), (["--min=a"], "--min expects per cent"), (["--junit"], "--junit expects a value"),
    (["--frobnicate"], "--frobnicate"),
])
def test_nothing_run_is_status_2(folder, arguments, message):
    project(folder)
    result = specs(folder, *arguments)
    assert result.returncode == 2, result.stdout + result.stderr
    assert message in result.stderr


def test_a_spec_that_does_not_load_is_a_failure_of_its_own(folder):
    project(folder, broken="local = 1")
    result = specs(folder)
    assert result.returncode == 1
    assert "spec/broken_spec.lua:1: " in result.stdout
    assert "1 success / 0 failures / 1 error" in result.stdout
    result = specs(folder, "spec/broken_spec.lua", "--tap")
    assert result.returncode == 1
    assert "not ok 1 - spec/broken_spec.lua" in result.stdout


# ---------------------------------------------------------------- watching


class Watch:
    """A `perigee test --watch` whose output is read as it comes."""

    def __init__(self, folder, *arguments):
        self.process = subprocess.Popen([BINARY, "test", "--watch", *arguments], cwd=folder.path, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        self.output = ""
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.output += line

    def wait_runs(self, count):
        wait.until(lambda: self.output.count("Ctrl-C ends") >= count, f"{count} runs have ended")

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        status = self.process.wait(wait.PATIENCE)
        self.reader.join(wait.PATIENCE)
        return status


@pytest.fixture
def watch(folder):
    started = []

    def start(*arguments):
        started.append(Watch(folder, *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
        one.process.stdout.close()


def test_watch_runs_again_when_policies_and_specs_change(folder, watch):
    project(folder)
    watching = watch()
    watching.wait_runs(1)
    assert "1 success / 0 failures" in watching.output
    assert re.search(r"^perigee: the specs passed after \d+\.\d s; waiting for changes in \d+ folders, Ctrl-C ends$", watching.output, re.M)
    folder.write("policies/closing/init.lua", CLOSING.replace("perigee.sleep(0.1)", "error 'changed'"))
    watching.wait_runs(2)
    assert "perigee: policies/closing/init.lua changed\n" in watching.output
    assert "perigee: the specs failed (exit status 1) after" in watching.output
    folder.write("policies/closing/init.lua", CLOSING)
    watching.wait_runs(3)
    folder.write("spec/deeper/new_spec.lua", 'it("is new", function() end)')
    watching.wait_runs(4)
    assert "2 successes / 0 failures" in watching.output
    (folder.path / "spec/deeper/new_spec.lua").unlink()
    watching.wait_runs(5)
    assert "perigee: files were renamed or removed\n" in watching.output
    assert "\033" not in watching.output
    assert watching.end() == 0


def test_watch_does_not_run_for_files_that_are_no_part_of_specs(folder, watch):
    project(folder)
    watching = watch("--junit=out.xml", "--lcov=out.info")
    watching.wait_runs(1)
    folder.write("notes.txt", "text")
    folder.write("spec/.hidden.lua", "text")
    folder.write("gateway.json", "{}")
    watching.wait_runs(2)
    assert watching.output.count(" changed\n") == 1
    assert "perigee: gateway.json changed\n" in watching.output
    assert watching.end(signal.SIGTERM) == 0


@pytest.fixture
def gate(folder):
    """A pipe that a spec waits at: wait_for_spec() gives the descriptor whose closing lets it go on."""
    os.mkfifo(folder.path / "gate")
    folder.write("spec/waiting_spec.lua", 'it("waits", function() io.open("gate"):read "*a" end)')

    def knock():
        try:
            return os.open(folder.path / "gate", os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO  # nobody reads yet
            return None

    return lambda: wait.until(knock, "a spec waits at the gate")


def test_watch_sees_a_change_that_is_made_while_specs_run(folder, watch, gate):
    watching = watch()
    running = gate()
    folder.write("spec/other_spec.lua", 'it("is there", function() end)')
    os.close(running)
    watching.wait_runs(1)
    os.close(gate())
    watching.wait_runs(2)
    assert "2 successes / 0 failures" in watching.output
    assert watching.end() == 0


def test_watch_ends_at_once_while_specs_run(watch, gate):
    watching = watch()
    running = gate()
    assert watching.end() == 0
    os.close(running)
    assert "Ctrl-C ends" not in watching.output

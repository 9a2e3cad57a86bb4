# SPDX-License-Identifier: MIT
"""The test runner counts honestly: what it cannot count, or what ends badly, is a failure."""

import os
import shutil
import subprocess

import pytest

from conftest import TOOLS


class Project:
    """A tree with the runner, and a build directory whose `perigee` is a shell script."""

    def __init__(self, tree):
        self.tree = tree
        tree.write({"tools/.keep": "", "build/.keep": ""})
        shutil.copy(TOOLS / "run_tests", tree.top / "tools/run_tests")

    def perigee(self, script):
        path = self.tree.write({"build/perigee": "#!/bin/sh\n" + script}).top / "build/perigee"
        path.chmod(0o755)
        self.tree.write({"spec/sdk/a_spec.lua": ""})

    def run(self, *paths, ci=False):
        env = {name: value for name, value in os.environ.items() if name != "CI"}
        result = subprocess.run([self.tree.top / "tools/run_tests", *paths], capture_output=True, text=True, check=False,
                                env=dict(env, CI="true") if ci else env)
        return result.returncode, result.stdout.splitlines()[-1]


@pytest.fixture
def project(tree):
    return Project(tree)


def test_sums_what_the_rings_say(project):
    project.perigee('echo "3 successes / 0 failures / 0 errors / 1 pending : 0.1 seconds"\n')
    project.tree.write({"spec/e2e/test_a.py": "def test_one():\n    pass\n"})
    assert project.run() == (0, "4 passed, 0 failed, 1 skipped")


def test_errors_are_failures(project):
    project.perigee('echo "1 success / 1 failure / 2 errors / 0 pending : 0.1 seconds"\nexit 1\n')
    assert project.run() == (1, "1 passed, 3 failed, 0 skipped")


def test_a_crash_after_the_last_test_is_a_failure(project):
    project.perigee('echo "3 successes / 0 failures / 0 errors / 0 pending : 0.1 seconds"\nkill -SEGV $$\n')
    assert project.run() == (1, "3 passed, 1 failed, 0 skipped")


def test_silence_is_a_failure(project):
    project.perigee("exit 0\n")
    assert project.run() == (1, "0 passed, 1 failed, 0 skipped")


def test_no_test_at_all_is_no_success(project):
    assert project.run() == (1, "0 passed, 0 failed, 0 skipped")


def test_a_skipped_end_to_end_test_fails_in_ci_only(project):
    project.tree.write({"spec/e2e/test_a.py": "import pytest\n\ndef test_one():\n    pytest.skip('no tool')\n\n"
                                              "def test_two():\n    pass\n"})
    assert project.run() == (0, "1 passed, 0 failed, 1 skipped")
    assert project.run(ci=True) == (1, "1 passed, 1 failed, 0 skipped")


def test_a_path_chooses_one_file(project):
    project.perigee('[ "$*" = "test spec/sdk/a_spec.lua" ] && '
                    'echo "1 success / 0 failures / 0 errors / 0 pending : 0.1 seconds"\n')
    project.tree.write({"spec/e2e/test_a.py": "def test_one():\n    assert False\n"})
    assert project.run("spec/sdk/a_spec.lua") == (0, "1 passed, 0 failed, 0 skipped")
    assert project.run("spec/e2e/test_a.py::test_one") == (1, "0 passed, 1 failed, 0 skipped")


def test_a_folder_may_have_lua_and_python(project):
    project.perigee('[ "$*" = "test examples/a" ] && echo "2 successes / 0 failures / 0 errors / 0 pending : 0.1 seconds"\n')
    project.tree.write({"examples/a/a_spec.lua": "", "examples/a/test_a.py": "def test_one():\n    pass\n"})
    assert project.run("examples/a") == (0, "3 passed, 0 failed, 0 skipped")


@pytest.mark.parametrize("text, failed", [
    ("==7==Unable to get registers from thread 7.\n", 0),
    ("==7==Unable to get registers from thread 7.\n==8==ERROR: LeakSanitizer: detected memory leaks\n", 1),
])
def test_what_a_sanitizer_found_is_a_failure_and_a_killed_process_is_not(project, text, failed):
    project.tree.write({"build/CMakeCache.txt": "PERIGEE_SANITIZE:BOOL=ON\n"})
    project.perigee(f"printf '{text}' >build/report/sanitizer.7\n"
                    'echo "1 success / 0 failures / 0 errors / 0 pending : 0.1 seconds"\n')
    assert project.run("spec/sdk/a_spec.lua") == (failed, f"{2 - failed} passed, {failed} failed, 0 skipped")

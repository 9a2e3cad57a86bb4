# SPDX-License-Identifier: MIT
"""The deps script installs exactly what is missing, says so, and is quiet otherwise. apt, dpkg and sudo are scripts."""

import os
import pathlib
import shutil
import subprocess

import pytest

DEPS = pathlib.Path(__file__).resolve().parents[2] / "tools/deps"
TOOLS = ["sh", "sed", "grep", "tr", "wc", "env", "cat"]


def packages(*groups):
    return subprocess.run([DEPS, "--list", *groups], capture_output=True, text=True, check=True).stdout.split()


class Machine:
    """A PATH with only what a test puts there; every apt-get call is recorded."""

    def __init__(self, top):
        self.bin, self.calls = top / "bin", top / "calls"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))

    def add(self, name, script):
        path = self.bin / name
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    def debian(self, installed, uid=0, install_status=0):
        self.add("id", f"echo {uid}\n")
        lines = "".join(f"installed {name}\n" for name in installed) + "config-files gone\n"
        self.add("dpkg-query", f"cat <<'E'\n{lines}E\n")
        self.add("apt-get", f'echo "$DEBIAN_FRONTEND apt-get $*" >>{self.calls}\n'
                            f'[ "$1" = update ] || exit {install_status}\n')
        return self

    def run(self, *groups):
        result = subprocess.run([DEPS, *groups], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
                                env={"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/")})
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        return result.returncode, result.stdout + result.stderr, calls


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_says_one_line_and_does_nothing_when_all_is_there(machine):
    status, output, calls = machine.debian(packages("build", "test")).run("build", "test")
    assert (status, calls, output.count("\n")) == (0, [], 1)
    assert "installed" in output


def test_installs_exactly_what_is_missing(machine):
    there = [name for name in packages("build") if name not in ("cmake", "libuv1-dev")]
    status, output, calls = machine.debian(there).run("build")
    assert status == 0
    assert calls[0].startswith("noninteractive apt-get update")
    assert calls[1].endswith("--no-install-recommends cmake libuv1-dev")
    assert "installing with apt-get: cmake libuv1-dev\n" in output


def test_a_removed_package_whose_settings_remain_is_missing(machine):
    there = [name for name in packages("build") if name != "gcc"]
    machine.debian(there)
    machine.add("dpkg-query", "printf 'installed %s\\n' " + " ".join(there) + "; echo config-files gcc\n")
    assert machine.run("build")[2][1].endswith(" gcc")


def test_either_luajit_will_do(machine):
    there = [name for name in packages("build") if name != "libluajit2-5.1-dev"]
    assert machine.debian(there + ["libluajit-5.1-dev"]).run("build")[2] == []


def test_a_user_goes_through_sudo_without_asking_for_a_password_where_nobody_types(machine):
    machine.debian(packages("build")[1:], uid=1000)
    machine.add("sudo", f'echo "sudo $*" >>{machine.calls}\nshift\nexec "$@"\n')
    status, _, calls = machine.run("build")
    assert status == 0
    assert calls[0].startswith("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get update")


def test_a_user_without_sudo_is_told_what_to_run(machine):
    status, output, calls = machine.debian(packages("build")[1:], uid=1000).run("build")
    assert (status, calls) == (1, [])
    assert "apt-get install --no-install-recommends gcc\n" in output


def test_another_system_is_told_what_it_needs(machine):
    status, output, _ = machine.run("build")
    assert status == 1
    assert "not a Debian system" in output and "libuv1-dev" in output


def test_a_failing_install_fails(machine):
    status, output, _ = machine.debian([], install_status=100).run("build")
    assert status == 1
    assert "could not install" in output


def test_an_unknown_group_is_misuse(machine):
    assert machine.debian([]).run("everything")[0] == 2

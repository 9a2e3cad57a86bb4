# SPDX-License-Identifier: MIT
"""`perigee new policy`: what it writes works at once, and it never touches what is there."""

import pytest

from support.gateway import run

FILES = ["policies/closing/README.md", "policies/closing/init.lua", "spec/closing_spec.lua"]


def listing(folder):
    return sorted(str(p.relative_to(folder.path)) for p in folder.path.rglob("*") if not p.is_dir())


def new(folder, *arguments):
    return run("new", *arguments, cwd=folder.path)


def test_a_new_policy_has_its_files_and_says_what_to_do_next(folder):
    result = new(folder, "policy", "closing")
    assert (result.returncode, result.stderr) == (0, "")
    assert listing(folder) == FILES
    for path in FILES:
        assert f"created {path}\n" in result.stdout
        text = (folder.path / path).read_text()
        assert "closing" in text and "NAME" not in text
    assert "perigee test spec/closing_spec.lua" in result.stdout
    assert 'policies = { "closing" }' in result.stdout
    assert "\033" not in result.stdout


@pytest.mark.parametrize("name", ["closing", "a", "x2_y", "a" * 64])
def test_the_spec_of_a_new_policy_passes_as_it_is(folder, name):
    assert new(folder, "policy", name).returncode == 0
    result = run("test", cwd=folder.path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 successes / 0 failures / 0 errors" in result.stdout


def test_the_spec_of_a_new_policy_fails_when_the_policy_does_nothing(folder):
    assert new(folder, "policy", "closing").returncode == 0
    path = folder.path / "policies/closing/init.lua"
    path.write_text(path.read_text().replace("res.headers:set", "local _ =").replace("403", "404"))
    result = run("test", cwd=folder.path)
    assert result.returncode == 1, result.stdout


def test_a_new_policy_works_in_a_configuration(folder):
    assert new(folder, "policy", "closing").returncode == 0
    path = folder.write("gateway.lua", """return {
        listeners = { { address = "127.0.0.1:0" } }, routes = { { reply = "a", policies = { "closing" } } },
    }""")
    assert run("check", path).returncode == 0


@pytest.mark.parametrize("there", FILES + ["policies/closing.lua"])
def test_nothing_that_is_there_is_changed(folder, there):
    folder.write(there, "mine")
    result = new(folder, "policy", "closing")
    assert (result.returncode, result.stdout) == (1, "")
    assert "is there already" in result.stderr
    assert listing(folder) == [there]
    assert (folder.path / there).read_text() == "mine"


def test_a_dangling_link_is_not_written_through(folder):
    folder.write("spec/other_spec.lua", "")
    (folder.path / "spec/closing_spec.lua").symlink_to(folder.path / "elsewhere")
    assert new(folder, "policy", "closing").returncode == 1
    assert not (folder.path / "elsewhere").exists()
    assert not (folder.path / "policies").exists()


def test_a_second_policy_stands_beside_the_first(folder):
    assert new(folder, "policy", "closing").returncode == 0
    assert new(folder, "policy", "opening").returncode == 0
    assert new(folder, "policy", "closing").returncode == 1
    assert "8 successes" in run("test", cwd=folder.path).stdout


def test_half_a_policy_is_taken_back(folder):
    folder.write("spec", "a file where the folder should be")
    result = new(folder, "policy", "closing")
    assert result.returncode == 1
    assert "spec/closing_spec.lua cannot be written: Not a directory" in result.stderr
    assert listing(folder) == ["spec"]
    assert not (folder.path / "policies/closing").exists()


def test_a_shipped_policy_is_not_hidden(folder):
    result = new(folder, "policy", "jwt")
    assert result.returncode == 1
    assert "comes with Perigee" in result.stderr
    assert listing(folder) == []


@pytest.mark.parametrize("name", ["", "Closing", "9lives", "_x", "a-b", "a.b", "../x", "a/b", "a b", "a\n", "é", "a" * 65, "a" * 5000, "NAME"])
def test_names_that_no_policy_can_have_are_refused(folder, name):
    result = new(folder, "policy", name)
    assert (result.returncode, result.stdout) == (2, "")
    assert "is no name for a policy" in result.stderr
    assert listing(folder) == []


@pytest.mark.parametrize("arguments", [[], ["policy"], ["route", "x"], ["policy", "a", "b"], ["policy", "--frobnicate"], ["--x", "policy", "a"]])
def test_wrong_usage_is_status_2(folder, arguments):
    result = new(folder, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Run 'perigee new --help'" in result.stderr
    assert listing(folder) == []

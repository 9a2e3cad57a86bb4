# SPDX-License-Identifier: MIT
"""`perigee stubs`: what it writes declares all of the SDK, is Lua, and changes nothing that is the user's."""

import json
import pathlib
import re
import subprocess

import pytest

from support.gateway import TOP, run


@pytest.fixture
def written(folder):
    result = run("stubs", cwd=folder.path)
    assert (result.returncode, result.stderr) == (0, "")
    return folder


def stub_files(folder):
    return sorted((folder.path / ".perigee/stubs").rglob("*.lua"))


def declared(folder):
    """Text of all declarations."""
    return "\n".join(path.read_text() for path in stub_files(folder))


def test_it_says_what_it_wrote(folder):
    result = run("stubs", cwd=folder.path)
    assert result.stdout.startswith("written ./.perigee/stubs (")
    assert "created ./.luarc.json\n" in result.stdout


def test_every_declaration_is_lua_and_marked_as_meta(written):
    assert len(stub_files(written)) > 20
    for path in stub_files(written):
        assert path.read_text().startswith("---@meta\n"), path
        result = subprocess.run(["luajit", "-b", str(path), "-"], capture_output=True, text=True, check=False, errors="replace")
        assert result.returncode == 0, result.stderr


def test_the_settings_lead_the_editor_to_the_declarations(written):
    settings = json.loads((written.path / ".luarc.json").read_text())
    assert settings["runtime.version"] == "LuaJIT"
    library, = settings["workspace.library"]
    assert (written.path / library / "perigee/init.lua").exists()


def public_names():
    """Every function that scripts get, as the runtime itself has them: "perigee.json.decode" …"""
    script = """
    local public = require "perigee._core.public"
    local perigee = require "perigee"
    it("lists", function()
        for _, module in ipairs(public.MODULES) do
            for name, value in pairs(require("perigee." .. module)) do
                if type(value) == "function" then io.write("NAME ", module, ".", name, "\\n") end
            end
        end
        for _, name in ipairs { "policy", "reply", "problem", "sleep", "spawn", "wait" } do
            assert(type(perigee[name]) == "function")
            io.write("NAME perigee.", name, "\\n")
        end
        for name, value in pairs(require "perigee.test") do
            if type(value) == "function" and name:sub(1, 1) ~= "_" then io.write("NAME test.", name, "\\n") end
        end
    end)
    """
    return script


def test_every_public_function_is_declared(written):
    written.write("names_spec.lua", public_names())
    result = run("test", "names_spec.lua", cwd=written.path)
    names = re.findall(r"NAME (\S+)", result.stdout)
    assert len(names) > 60, result.stdout + result.stderr
    text = declared(written)
    missing = [name for name in names if f"function {name}(" not in text]
    assert missing == []


def test_every_hook_and_every_table_of_a_configuration_is_declared(written):
    text = declared(written)
    for hook in ("on_request", "on_request_body", "on_upstream", "on_response", "on_response_body", "on_log", "around", "init", "save"):
        assert f"---@field {hook}? fun(self" in text, hook
    for kind in ("Config", "Listener", "Upstream", "Route", "Use", "Request", "Response", "Headers", "Dict", "test.Gateway", "test.Response"):
        assert re.search(rf"^---@class perigee\.{re.escape(kind)}$", text, re.M), kind
    for setting in ("listeners?", "routes", "admin?", "timeouts?", "on_failure?", "path_regex?", "max_idle?"):
        assert f"---@field {setting} " in text, setting


def test_declarations_name_only_classes_that_are_declared(written):
    text = declared(written)
    known = set(re.findall(r"^---@(?:class|alias) (perigee[\w.]*)", text, re.M))
    used = {name.rstrip(".") for line in re.findall(r"^---@(?:field|param|return|overload|type) .*", text, re.M)
            for name in re.findall(r"(?<![\w\"`/])perigee\.[A-Z][\w.]*|(?<![\w\"`/])perigee\.test\.[A-Z]\w*", line)}
    assert used - known == set()


def test_settings_that_are_there_stay(folder):
    folder.write(".luarc.json", "{}")
    result = run("stubs", cwd=folder.path)
    assert result.returncode == 0
    assert (folder.path / ".luarc.json").read_text() == "{}"
    assert '"workspace.library": [".perigee/stubs"]' in result.stdout


def test_a_second_run_renews_the_declarations(written):
    path = written.path / ".perigee/stubs/perigee/init.lua"
    fresh = path.read_text()
    path.write_text("old")
    assert run("stubs", cwd=written.path).returncode == 0
    assert path.read_text() == fresh


def test_another_folder_may_be_named(folder):
    assert run("stubs", folder.path / "project").returncode == 0
    assert (folder.path / "project/.luarc.json").exists()


def test_a_folder_that_cannot_be_written_is_an_error(folder):
    path = folder.write("file", "x")
    result = run("stubs", path)
    assert (result.returncode, result.stdout) == (1, "")
    assert "cannot be written: Not a directory" in result.stderr


@pytest.mark.parametrize("arguments", [["--x"], ["a", "b"], [""]])
def test_wrong_usage_is_status_2(folder, arguments):
    result = run("stubs", *arguments, cwd=folder.path)
    assert result.returncode == 2
    assert list(folder.path.iterdir()) == []


def test_a_new_policy_tells_of_them(folder):
    assert "perigee stubs" in run("new", "policy", "closing", cwd=folder.path).stdout


def test_the_declarations_in_the_tree_are_fresh():
    result = subprocess.run([pathlib.Path(TOP) / "tools/docs", "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout

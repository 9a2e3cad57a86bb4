# SPDX-License-Identifier: MIT
"""The layer rules are held: each rule accepts what it should and names what it should not."""

import pytest

HEADER = '#include "base/err.h"\nstruct peri_timer { int at; };\n/// Starts.\nvoid peri_timer_start(void);\n'


def test_accepts_own_directory_and_lower_layers(tree):
    tree.write({
        "runtime/base/err.h": "\n",
        "runtime/event/timer.h": '#include "base/err.h"\n',
        "runtime/event/timer.c": '#include "event/timer.h"\n#include <uv.h>\n',
        "runtime/proxy/pipeline.c": '#include "event/timer.h"\n#include "perigee/ffi.h"\n#include "version.h"\n',
        "include/perigee/ffi.h": "\n",
        "lua/perigee/init.lua": 'local a = require "perigee.a"\n',
        "lua/perigee/a.lua": "return {}\n",
        "policies/jwt/init.lua": 'local p = require "perigee"\nlocal k = require "policies.jwt.keys"\n',
    })
    assert tree.run("check_layers") == (0, [])


@pytest.mark.parametrize("files, line, words", [
    ({"runtime/base/a.c": '\n#include "event/t.h"\n', "runtime/event/t.h": ""}, "runtime/base/a.c:2:", "upward"),
    ({"runtime/route/a.c": '#include "script/vm.h"\n', "runtime/script/vm.h": ""}, "runtime/route/a.c:1:", "siblings"),
    ({"runtime/odd/a.c": '#include "base/e.h"\n', "runtime/base/e.h": ""}, "runtime/odd/a.c:1:", "no layer"),
    ({"runtime/codec/a.c": "#include <uv.h>\n"}, "runtime/codec/a.c:1:", "wrapped by event/*"),
    ({"runtime/app/a.c": "#include <lua.h>\n"}, "runtime/app/a.c:1:", "wrapped by script/*"),
    ({"runtime/event/a.c": "#include <openssl/ssl.h>\n"}, "runtime/event/a.c:1:", "wrapped by event/tls*"),
    ({"runtime/base/a.c": '#include "a.h"\n', "runtime/base/a.h": ""}, "runtime/base/a.c:1:", "no file of runtime/"),
    ({"runtime/main.c": "\n" * 120}, "runtime/main.c:120:", "under 120"),
    ({"lua/perigee/a.lua": 'require "policies.jwt"\n'}, "lua/perigee/a.lua:1:", "never requires a policy"),
    ({"lua/perigee/a.lua": 'require("jwt")\n', "policies/jwt/init.lua": ""}, "lua/perigee/a.lua:1:", "a policy"),
    ({"lua/perigee/a.lua": 'require "perigee.test"\n'}, "lua/perigee/a.lua:1:", "test kit"),
    ({"policies/jwt/init.lua": 'require "perigee._core.ffi"\n'}, "policies/jwt/init.lua:1:", "own files"),
    ({"policies/jwt/init.lua": 'require "policies.acl"\n'}, "policies/jwt/init.lua:1:", "own files"),
])
def test_names_the_line_that_breaks_a_rule(tree, files, line, words):
    status, output = tree.write(files).run("check_layers")
    assert status == 1
    assert len(output) == 1
    assert output[0].startswith(line) and words in output[0]


def test_names_an_include_cycle(tree):
    tree.write({"runtime/base/a.h": '#include "base/b.h"\n', "runtime/base/b.h": '#include "base/a.h"\n'})
    status, output = tree.run("check_layers")
    assert (status, len(output)) == (1, 1)
    assert "include cycle: base/a.h -> base/b.h -> base/a.h" in output[0]


def test_names_a_require_cycle(tree):
    tree.write({"lua/perigee/init.lua": 'require "perigee.b"\n', "lua/perigee/b.lua": 'require "perigee"\n'})
    status, output = tree.run("check_layers")
    assert (status, len(output)) == (1, 1)
    assert "require cycle: perigee -> perigee.b -> perigee" in output[0]


def test_a_require_in_a_comment_is_no_require(tree):
    assert tree.write({"lua/perigee/a.lua": '-- require "policies.jwt"\n'}).run("check_layers") == (0, [])


@pytest.mark.parametrize("use, status", [
    ("struct peri_conn { struct peri_timer timer; };\n", 0),
    ("struct peri_timer;\nstruct peri_conn { struct peri_timer *timer; };\n", 1),
    ("// struct peri_timer timer\n", 1),
])
def test_a_header_includes_a_lower_layer_only_for_what_it_holds_by_value(tree, use, status):
    tree.write({
        "runtime/base/err.h": "\n",
        "runtime/event/timer.h": HEADER,
        "runtime/proxy/conn.h": '#include "event/timer.h"\n' + use,
    })
    assert tree.run("check_layers")[0] == status

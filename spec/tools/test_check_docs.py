# SPDX-License-Identifier: MIT
"""The documentation check finds links that lead nowhere and folders without a README; the generated pages are right."""

import shutil
import subprocess

from conftest import TOOLS


def test_accepts_links_that_lead_somewhere(tree):
    tree.write({"README.md": "[a](docs/a.md#top) [web](https://example.org/x) [here](#here)\n", "docs/a.md": "[up](..)\n"})
    assert tree.run("check_docs") == (0, [])


def test_names_a_link_that_leads_nowhere(tree):
    status, output = tree.write({"docs/a.md": "x\n[b](b.md)\n"}).run("check_docs")
    assert (status, output) == (1, ["docs/a.md:2: link to b.md, which does not exist"])


def test_code_is_not_a_link(tree):
    assert tree.write({"a.md": "`[b](b.md)`\n```lua\nt[1](b)\n```\n"}).run("check_docs") == (0, [])


def test_a_policy_without_a_readme_is_named(tree):
    status, output = tree.write({"policies/jwt/init.lua": ""}).run("check_docs")
    assert (status, output) == (1, ["policies/jwt/README.md:1: missing"])


def test_a_stale_reference_fails(tree):
    generator = tree.write({"tools/docs": '#!/bin/sh\n[ "$1" = --check ] && echo "stale" && exit 1\n'}).top / "tools/docs"
    generator.chmod(0o755)
    assert tree.run("check_docs") == (1, ["stale"])


POLICY = """
local perigee = require "perigee"
local nets, mask = perigee.ip.set { "10.0.0.0/8" }, bit.lshift(1, 4)
local P = perigee.policy { name = "acl", stage = "auth", schema = {
    allow = { type = "list", items = "string", required = true, doc = "Who may." },
    by = { type = "string", enum = { "a", "b" }, default = "a" },
} }
return P
"""


def test_the_reference_says_what_the_sources_say_and_is_fresh_until_they_change(tree):
    (tree.top / "tools").mkdir()
    for name in ("docs", "annotations.py", "stubs.py", "policy_schema.lua"):
        shutil.copy(TOOLS / name, tree.top / "tools" / name)
    tree.write({
        "policies/acl/init.lua": POLICY, "policies/acl/README.md": "# acl\n\n## Configuration\n\n| old |\n\n## Limits\n",
        "tools/gen_config_doc.lua": 'print "# Configuration"\n', "tools/gen_config_stub.lua": 'print "---@class perigee.Config"\n',
        "lua/perigee/init.lua": "---@class perigee\nlocal perigee = {}\nreturn perigee\n",
        "lua/perigee/test.lua": "---@class perigee.test\nlocal test = {}\nreturn test\n",
        "lua/perigee/_core/public.lua": 'public.MODULES = { "ip" }\n',
        "lua/perigee/ip.lua": "--- Makes a set.\n---@param list string[] CIDRs\n---@return perigee.IpSet set\nfunction ip.set(list)\n",
        "include/perigee/ffi.h": "/* ---- core ---- */\n\n/** The number. */\nint32_t peri_ffi_abi(void);\n",
    })
    assert tree.run("check_docs")[0] == 1
    subprocess.run([tree.top / "tools/docs"], check=True, capture_output=True)
    assert tree.run("check_docs") == (0, [])

    reference = tree.top / "docs/reference"
    policies = (reference / "policies.md").read_text()
    assert "| `allow` | list of string | required | Who may. |" in policies
    assert '| `by` | string: a, b | `"a"` |  |' in policies
    table = policies[policies.index("| setting"):]
    assert (tree.top / "policies/acl/README.md").read_text() == f"# acl\n\n## Configuration\n\n{table}\n## Limits\n"
    assert (reference / "configuration.md").read_text() == "# Configuration\n"
    sdk = (reference / "sdk.md").read_text()
    assert "### `ip.set(list)`\n\nMakes a set.\n\n- `list` (`string[]`) CIDRs\n- returns `perigee.IpSet` set\n" in sdk
    assert "function ip.set(list) end\n" in (tree.top / "tools/templates/stubs/perigee/ip.lua").read_text()
    assert "```c\nint32_t peri_ffi_abi(void);\n```\n\nThe number.\n" in (reference / "ffi.md").read_text()

    tree.write({"policies/acl/init.lua": POLICY.replace("Who may", "Who")})
    status, output = tree.run("check_docs")
    stale = ["docs/reference/policies.md", "policies/acl/README.md"]
    assert (status, output) == (1, [f"{page}:1: stale; run 'make docs'" for page in stale])

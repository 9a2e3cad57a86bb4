# SPDX-License-Identifier: MIT
"""The size check counts what it says it counts, and its ratchet only falls."""

import re


def numbers(output):
    return {m.group(2): (m.group(1), float(m.group(3)))
            for m in (re.match(r"\s*(ok|held|WORSE)\s+(\w+)\s+([\d.]+)", line) for line in output) if m}


def function(name, lines):
    return f"static int {name}(int a, void (*f)(int))\n{{\n" + "    f(a);\n" * (lines - 4) + "    return 0;\n}\n"


def test_counts_functions_members_includes_and_documented_prototypes(tree):
    tree.write({
        "runtime/base/a.c": '#include "base/a.h"\n#include <stdio.h>\n'
        + "static const int table[] = {1, 2};\n" + function("one", 10) + function("two", 30) + function("three", 20),
        "runtime/base/a.h": "struct peri_a {\n    int x, y;\n    void (*on_end)(int a, int b);\n    char z[3];\n};\n"
        "/// Documented.\nint peri_a_get(const struct peri_a *a);\nint peri_a_grouped(void);\n\nint peri_a_bare(void);\n",
    })
    status, output = tree.run("check_size")
    found = numbers(output)
    assert found["function_longest"] == ("ok", 30)
    assert found["function_median"] == ("WORSE", 20)
    assert found["struct_members"] == ("ok", 4)
    assert found["includes"] == ("ok", 2)
    assert found["undocumented"] == ("WORSE", 1)
    assert "runtime/base/a.h:10: peri_a_bare: no /// comment" in output
    assert status == 1


def test_takes_both_forms_of_a_documenting_comment(tree):
    tree.write({"include/perigee/ffi.h": "/** One\n *  line. */\nint a(void);\n\n/** Two. */\nint b(int x,\n      int y);\n\n"
                                         "/// Three.\nint c(void);\n\nint x;\nint d(void);\n"})
    status, output = tree.run("check_size")
    assert [line for line in output if "no /// comment" in line] == ["include/perigee/ffi.h:13: d: no /// comment"]


def test_braces_in_comments_strings_and_macros_do_not_count(tree):
    text = '#define OPEN {\n/* } { */\n' + function("one", 5).replace("return 0", 'f(\'}\'); f("}{\\""); return 0')
    tree.write({"runtime/base/a.c": text})
    assert numbers(tree.run("check_size")[1])["function_longest"] == ("ok", 5)


def test_refuses_a_file_above_800_lines(tree):
    status, output = tree.write({"lua/perigee/a.lua": "\n" * 801}).run("check_size")
    assert (status, numbers(output)["file_longest"]) == (1, ("WORSE", 801))


def test_the_ratchet_holds_what_is_worse_than_its_aim_and_only_falls(tree):
    ratchet = tree.top / "tools/size.ratchet"
    tree.write({"runtime/base/a.c": function("one", 140), "tools/size.ratchet": ""})
    assert tree.run("check_size")[0] == 1
    tree.run("check_size", "--accept")
    assert "function_longest 140 " in ratchet.read_text()
    assert tree.run("check_size")[0] == 0

    tree.write({"runtime/base/a.c": function("one", 141)})
    assert tree.run("check_size")[0] == 1
    tree.run("check_size", "--update")
    assert "function_longest 140 " in ratchet.read_text()

    tree.write({"runtime/base/a.c": function("one", 120)})
    tree.run("check_size", "--update")
    assert "function_longest 120 " in ratchet.read_text()
    tree.write({"runtime/base/a.c": function("one", 12)})
    tree.run("check_size", "--update")
    assert "function_longest" not in ratchet.read_text()

# SPDX-License-Identifier: MIT
"""Makes the editor stubs: Lua files that declare what the SDK offers and do nothing, in the annotations that lua-language-server
reads (LuaCATS). They mirror the modules that scripts may require, and are embedded in the binary: `perigee stubs` writes them.

What is public: the modules that lua/perigee/_core/public.lua names, what `perigee` itself offers, every class with its
methods, and the test kit."""

import re

import annotations

NOTE = "-- Made by tools/stubs.py from the annotations in lua/perigee/. Editors read it; it is never run.\n"
KIT = "perigee.test"


class Source:
    """A module of the SDK: its classes with their methods, and its functions by the name of the local that holds them."""

    def __init__(self, path, name):
        self.text = path.read_text()
        self.name = name
        self.local = name.rpartition(".")[2]
        self.classes = {}  # name: (prose, marks, [methods])
        self.aliases = {}  # name: (prose, marks)
        self.functions = {}  # "owner.name": (arguments, prose, marks)
        self.requires = dict(re.findall(r'^local (\w+) = require "([\w.]+)"', self.text, re.M))
        owners = {}
        for prose, marks, line in annotations.blocks(self.text):
            function, kind = annotations.function_of(line), annotations.class_of(marks)
            for mark in marks:
                if mark.startswith("@alias "):
                    self.aliases[mark.split()[1]] = (prose, marks)
            if kind:
                kind = kind.split()[0].rstrip(":")
                self.classes[kind] = (prose, marks, [])
                owners[(re.match(r"local (\w+) = ", line) or [None, ""])[1]] = kind
            elif function and ":" in function[0]:
                owner, method = function[0].split(":")
                kind = owners.get(owner) or (len(self.classes) == 1 and next(iter(self.classes)))
                if kind:
                    self.classes[kind][2].append((method, function[1], prose, marks))
            elif function:
                self.functions[function[0]] = (function[1], prose, marks)

    def module_functions(self):
        """(name behind the module's local, arguments, prose, marks): also those of tables in the module."""
        for full, (arguments, prose, marks) in self.functions.items():
            owner, _, name = full.rpartition(".")
            if owner == self.local and not name.startswith("_"):
                yield name, arguments, prose, marks
            elif re.search(rf"^{self.local}\.{owner} = {owner}$", self.text, re.M):
                yield f"{owner}.{name}", arguments, prose, marks


def comment(prose, marks, hidden=("@class", "@private", "@type")):
    lines = [f"--- {line}".rstrip() for line in prose]
    lines += [f"---{mark}" for mark in marks if mark.split()[0] not in hidden and not re.match(r"@field _", mark)]
    return "".join(line + "\n" for line in lines)


def function(name, arguments, prose, marks):
    return f"{comment(prose, marks)}function {name}({arguments}) end\n"


def class_text(kind, prose, marks, methods):
    """A class is a local table, so that its methods can be written as in the source."""
    local = re.sub(r"\W", "_", kind.partition(".")[2])
    text = comment(prose, []) + f"---@class {kind}\n" + comment([], marks) + f"local {local} = {{}}\n"
    for method, arguments, method_prose, method_marks in methods:
        if not method.startswith("__"):
            text += "\n" + function(f"{local}:{method}", arguments, method_prose, method_marks)
    return text


def classes(source):
    """The classes of a module."""
    for kind, parts in source.classes.items():
        yield class_text(kind, *parts)


def head(source):
    lines = "".join(f"-- {line}".rstrip() + "\n" for line in annotations.header_paragraph(source.text).splitlines())
    return f"---@meta\n{NOTE}--\n{lines}\n"


def module_page(source):
    """The stub of a module that scripts require."""
    text = head(source) + "\n".join(classes(source)) + f"\n---@class {source.name}.module\n"
    if source.name == "perigee.shared":  # the module can be called
        text += "---@overload fun(name: string): perigee.Dict\n"
    text += f"local {source.local} = {{}}\n"
    tables = {name.split(".")[0] for name, *_ in source.module_functions() if "." in name}
    text += "".join(f"{source.local}.{table} = {{}}\n" for table in sorted(tables))
    for name, *rest in source.module_functions():
        text += "\n" + function(f"{source.local}.{name}", *rest)
    return text + f"\nreturn {source.local}\n"


def classes_page(source):
    """The stub of a module that scripts only meet the objects of."""
    return head(source) + "\n".join(classes(source))


def forwarded(source, entry, sources):
    """The function behind an entry `name = module.function` of a table."""
    name, module, target = entry
    origin = sources.get(source.requires.get(module))
    found = origin and origin.functions.get(f"{module}.{target}")
    return (name, *found) if found else None


def entries(source, local):
    """The forwarded functions in the table that `local` begins with."""
    table = re.search(rf"^local {local} = \{{\n(.*?)^\}}", source.text, re.M | re.S)
    return re.findall(r"^\s+(\w+) = (\w+)\.(\w+),$", table.group(1), re.M) if table else []


def root_page(source, sources, modules):
    """`perigee` itself: its own functions, those that it takes from private modules, and its modules."""
    _, marks, _ = source.classes["perigee"]
    own = [mark for mark in marks if not re.match(r"@field (%s) " % "|".join(modules), mark)]
    text = head(source) + "---@class perigee\n" + comment([], own)
    text += "".join(f"---@field {name} perigee.{name}.module\n" for name in modules)
    text += "local perigee = {}\n"
    for entry in entries(source, "perigee"):
        found = forwarded(source, entry, sources)
        if found:
            text += "\n" + function(f"perigee.{found[0]}", *found[1:])
    for name, *rest in source.module_functions():
        text += "\n" + function(f"perigee.{name}", *rest)
    return text + "\nreturn perigee\n"


def reached(text, declared):
    """The texts of `declared` (by name) whose names stand in `text`, or in another one that is reached; in the order of `declared`."""
    names, fresh = set(), [text]
    while fresh:
        for name in re.findall(r"perigee\.test(?:\.\w+)*", fresh.pop()):
            if name in declared and name not in names:
                names.add(name)
                fresh.append(declared[name])
    return [declared[name] for name in declared if name in names]


def kit_page(kit, parts, sources):
    """The test kit in one file: its functions, and what a spec meets behind them."""
    text = "---@class perigee.test\n" + comment([], kit.classes[KIT][1]) + "local test = {}\n"
    for entry in entries(kit, "test"):
        found = forwarded(kit, entry, sources)
        if found:
            text += "\n" + function(f"test.{found[0]}", *found[1:])
    for name, *rest in kit.module_functions():
        text += "\n" + function(f"test.{name}", *rest)
    declared = {}
    for part in parts:
        declared.update((kind, class_text(kind, *rest)) for kind, rest in part.classes.items())
        declared.update((name, comment(*rest)) for name, rest in part.aliases.items())
    return head(kit) + "".join(f"{found}\n" for found in reached(text, declared)) + text + "\nreturn test\n"


def read(root):
    """{name of module: Source} of the whole SDK."""
    sources = {}
    for path in sorted(root.glob("perigee/**/*.lua")):
        name = path.relative_to(root).with_suffix("").as_posix().replace("/", ".").removesuffix(".init")
        sources[name] = Source(path, name)
    return sources


def pages(root):
    """Yields (path below the folder of the stubs, text)."""
    sources = read(root)
    public = (root / "perigee/_core/public.lua").read_text()
    modules = re.findall(r'"(\w+)"', re.search(r"public\.MODULES = \{(.*?)\}", public, re.S).group(1))
    yield "perigee/init.lua", root_page(sources["perigee"], sources, modules)
    kit_parts = []
    for name, source in sources.items():
        path = name.replace(".", "/") + ".lua"
        if name.startswith(f"{KIT}."):
            kit_parts.append(source)
        elif name.removeprefix("perigee.") in modules or name.startswith("perigee.algo."):
            yield path, module_page(source)
        elif name == "perigee._core.task":
            yield "perigee/task.lua", classes_page(source)
        elif "_core" not in name and name not in ("perigee", KIT) and source.classes:
            yield path, classes_page(source)
    yield "perigee/test.lua", kit_page(sources[KIT], kit_parts, sources)

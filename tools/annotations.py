# SPDX-License-Identifier: MIT
"""Reads the annotations (LuaCATS) of a Lua file: what the manual (tools/docs) and the editor stubs (tools/stubs.py) are made of."""

import re


def blocks(text):
    """Yields (documentation lines, annotation lines, the line of code below) of each block of `---` comments."""
    block = []
    for line in text.splitlines():
        if line.startswith("---") and not line.startswith("----"):
            block.append(line[3:].strip())
            continue
        if block:
            marks = [entry for entry in block if entry.startswith("@")]
            yield [entry for entry in block if not entry.startswith("@")], marks, line
        block = []


def function_of(line):
    """(name, arguments) of a function that begins in this line and is not local; None otherwise."""
    match = re.match(r"function\s+([\w.:]+)\s*\((.*?)\)", line) or re.match(r"([\w.]+)\s*=\s*function\s*\((.*?)\)", line)
    return match.groups() if match else None


def class_of(marks):
    """Name of the class that a block declares; None otherwise."""
    kind = next((entry for entry in marks if entry.startswith("@class")), None)
    return kind.split(None, 1)[1] if kind else None


def split_type(text):
    """Splits "table<string, string>? what it is" into type and text; brackets hold the type together."""
    depth = 0
    for at, char in enumerate(text):
        depth += {"<": 1, "(": 1, "{": 1, ">": -1, ")": -1, "}": -1}.get(char, 0)
        if char == " " and depth == 0 and text[at - 1] not in ":|," and text[at + 1:at + 2] != "|":
            return text[:at], text[at + 1:].strip()
    return text, ""


def header_paragraph(text):
    """The comment that opens a file, without its licence line."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("--") or line.startswith("---"):
            break
        if "SPDX" not in line:
            lines.append(line.lstrip("-").strip())
    return "\n".join(lines).strip()

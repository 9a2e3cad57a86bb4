# SPDX-License-Identifier: MIT
"""A throw-away source tree to run the tools on."""

import pathlib
import subprocess

import pytest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"


class Tree:
    def __init__(self, top):
        self.top = top

    def write(self, files):
        for name, text in files.items():
            path = self.top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self

    def run(self, tool, *arguments):
        """Runs a tool on this tree; returns (exit status, lines it printed)."""
        result = subprocess.run([TOOLS / tool, *arguments, self.top], capture_output=True, text=True, check=False)
        return result.returncode, (result.stdout + result.stderr).splitlines()


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)

# SPDX-License-Identifier: MIT
"""Programs that tests need and that may be missing: a reason to skip a test, but a failure with CI set."""

import os
import pathlib
import shutil
import subprocess

import pytest

from .gateway import BINARY, TOP


def miss(message):
    """Skips the test, or fails it with CI set, where everything is to be there."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)


def need(name):
    """The path of the program `name`, which tools/deps installs."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not path:
        miss(f"{name} is not installed: tools/deps test")
    return path


def build_go(name, package, module):
    """The path of the program `package` under the name `name`, built once beside the binary from the versions that
    `module`/go.mod says."""
    path = pathlib.Path(BINARY).resolve().parent / "tools" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([need("go"), "build", "-o", path, package], cwd=TOP / module, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            miss(f"{name} could not be built: {done.stderr.strip()}")
    return path

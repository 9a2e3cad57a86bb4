# SPDX-License-Identifier: MIT
"""What /proc tells about processes."""

import os
import pathlib


def stat(pid):
    """(state letter, parent) of a process; None when there is no such process."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1])


def children(pid, states=None):
    """Direct children, also zombies; or only those in one of `states`."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (seen := stat(entry)) and seen[1] == pid and (not states or seen[0] in states):
            found.append(int(entry))
    return sorted(found)


def zombies(pid):
    return children(pid, "Z")


def is_running(pid):
    seen = stat(pid)
    return seen is not None and seen[0] not in "ZX"


def resident_bytes(pid):
    """Memory that only this process holds: its anonymous resident pages."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/status has no RssAnon")


def open_files(pid):
    """{fd: what it is} of a process."""
    files = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            files[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            pass
    return files

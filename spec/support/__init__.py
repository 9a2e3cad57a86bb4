# SPDX-License-Identifier: MIT
"""Helpers of the Python tests: a gateway as a process, raw clients, scripted upstreams."""

# SPDX-License-Identifier: MIT
"""The Prometheus text format, read strictly."""

import re

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?(?:[0-9.]+(?:e[+-]?\d+)?|Inf|NaN)|\+Inf)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


class Metrics:
    def __init__(self, text):
        self.samples = []  # (name, labels, value)
        self.types = {}
        assert text.endswith("\n")
        for line in text.splitlines():
            self.read_line(line)
        keys = [(name, tuple(sorted(labels.items()))) for name, labels, _ in self.samples]
        assert len(keys) == len(set(keys)), "a sample comes twice"

    def read_line(self, line):
        if line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name not in self.types, f"{name} has two TYPE lines"
            assert kind in ("counter", "gauge", "histogram", "summary"), line
            self.types[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, f"no sample: {line!r}"
            name, labels, value = match.groups()
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name in self.types or self.types.get(family) in ("histogram", "summary"), f"{name} has no TYPE"
            self.samples.append((name, self.read_labels(labels or ""), float(value)))

    @staticmethod
    def read_labels(text):
        labels, at = {}, 0
        while at < len(text):
            match = LABEL.match(text, at)
            assert match, f"no labels: {text!r}"
            labels[match.group(1)] = match.group(2)
            at = match.end()
        return labels

    def names(self):
        return {name for name, _, _ in self.samples}

    def find(self, name, **labels):
        return [value for key, have, value in self.samples if key == name and labels.items() <= have.items()]

    def sum(self, name, **labels):
        return sum(self.find(name, **labels))

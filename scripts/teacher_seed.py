#!/usr/bin/env python3
"""Does it matter that seed 0 of a student under soft labels started from the weights of a teacher of seed 0? Until 2026-11-28 it did where both are one network.

    python3 scripts/teacher_seed.py results

Over all rows with a teacher of the student's own network: top-1 of seed 0 less the mean of the other seeds, averaged, with half of a 95 % interval.
"""

import collections
import json
import pathlib
import statistics
import sys

rows = collections.defaultdict(dict)
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/cells/*.json")):
    cell = json.loads(path.read_text())
    if cell.get("teacher", "").split(" ")[0] == cell["student"]:
        key = (path.parts[-3], cell["method"], cell["ipc"], cell["protocol"])
        rows[key][cell["seed"]] = cell["top1_percent"]
gains = []
for row in rows.values():
    others = [value for seed, value in row.items() if seed > 0]
    if 0 in row and others:
        gains.append(row[0] - statistics.mean(others))
half = 1.96 * statistics.stdev(gains) / len(gains) ** 0.5
print(f"{len(gains)} rows: {statistics.mean(gains):+.2f} ± {half:.2f}")

"""How well each metric finds wrong labels: scores of a bench against the labels as they were.

    noise_found.py NOISY RESULTS

NOISY is the folder that label_noise.py wrote, RESULTS that of a bench on it. For each metric and seed the images are ranked from the hard end; with
as many looked at as are wrong, precision equals recall. Prints that, and the area under the precision-recall curve, as mean +- sd
over seeds.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

# Metrics whose small scores are the hard ones.
LOW = {"aum", "aum-prob", "confidence"}


def average_precision(wrong):
    hits = np.cumsum(wrong)
    return float((hits / np.arange(1, len(wrong) + 1))[wrong].mean())


def main():
    noisy, results = Path(sys.argv[1]), Path(sys.argv[2])
    table = pq.read_table(next(noisy.glob("*.parquet")), columns=["label", "true_label"])
    is_wrong = table["label"].to_numpy() != table["true_label"].to_numpy()
    found = {}
    for path in sorted((results / "scores").glob("seed=*/*.parquet")):
        scores, name = pq.read_table(path), path.stem
        samples, values = scores["sample"].to_numpy(), scores["score"].to_numpy()
        wrong = is_wrong[samples[np.argsort(values if name in LOW else -values, kind="stable")]]
        found.setdefault(name, []).append((wrong[: wrong.sum()].mean(), average_precision(wrong), wrong.mean()))
    print("| metric | precision = recall at the true number | average precision | by chance | seeds |")
    print("|---|--:|--:|--:|--:|")
    spread = lambda values: f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f} %" if len(values) > 1 else f"{100 * values[0]:.1f} %"
    for name, runs in sorted(found.items(), key=lambda item: -np.mean([run[1] for run in item[1]])):
        at, area, chance = zip(*runs)
        print(f"| {name} | {spread(at)} | {spread(area)} | {100 * np.mean(chance):.1f} % | {len(runs)} |")


if __name__ == "__main__":
    main()

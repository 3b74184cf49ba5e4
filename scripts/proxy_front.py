"""What cheaper proxies lose: for every folder of a bench of recipes/proxies, how alike the scores of its seeds are, how like those of the standard proxies, and
what the sets that they choose are worth.

    proxy_front.py STANDARD OTHER...     folders in results/

Spearman's correlation of each metric within each class, averaged over classes. `own`: between the scores of two seeds; `standard`: with the mean of all seeds of STANDARD,
for STANDARD itself with the mean of its other seeds. Top-1 on the hold-out and on the test images, mean and standard deviation over seeds. Prints a Markdown table.
"""

import itertools
import json
import statistics
import sys
import tomllib
from pathlib import Path

import numpy as np
from pyarrow import parquet


METRICS = ["el2n", "aum-prob"]


def scores(folder, metric):
    """Scores of every seed: sample -> score."""
    found = []
    for path in sorted(folder.glob(f"scores/seed=*/{metric}.parquet")):
        table = parquet.read_table(path)
        found.append(dict(zip(table["sample"].to_pylist(), table["score"].to_pylist())))
    return found


def classes(folder):
    """Class of each training row: those of the source come first."""
    source = folder / tomllib.loads((folder / "recipe.toml").read_text())["source"]
    return dict(enumerate(parquet.read_table(source / "train.parquet", columns=["label"])["label"].to_pylist()))


def ranks(values):
    """Mean ranks; equal values share theirs."""
    values = np.asarray(values)
    unique, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2)[inverse]


def spearman(a, b, class_of):
    each = []
    for class_id in sorted(set(class_of[sample] for sample in a)):
        own = [sample for sample in a if class_of[sample] == class_id and sample in b]
        each.append(np.corrcoef(ranks([a[s] for s in own]), ranks([b[s] for s in own]))[0, 1])
    return float(np.mean(each))


def mean(of):
    return {sample: statistics.fmean(one[sample] for one in of) for sample in of[0]}


def top1(folder, method):
    cells = [json.loads(path.read_text()) for path in sorted(folder.glob(f"cells/{method}-ipc*.json"))]
    cell = lambda key: [c[key] for c in cells]
    if len(cells) < 2:
        return "", ""
    test = cell("top1_percent")
    return f"{statistics.fmean(cell('holdout_top1_percent')):.1f}", f"{statistics.fmean(test):.1f} ± {statistics.stdev(test):.1f}"


def alike(folder, standard, metric, class_of):
    """`own` and `standard` of one folder."""
    own, of_standard = scores(folder, metric), scores(standard, metric)
    pairs = [spearman(a, b, class_of) for a, b in itertools.combinations(own, 2)]
    if folder == standard:
        others = [[one for one in own if one is not left] for left in own]
    else:
        others = [of_standard] * len(own)
    like = [spearman(a, mean(rest), class_of) for a, rest in zip(own, others)]
    return [f"{statistics.fmean(pairs):.3f}", f"{statistics.fmean(like):.3f}"]


def main():
    folders = [Path(name) for name in sys.argv[1:]]
    class_of = classes(folders[0])
    methods = ["el2n-easy", "pca", "ccs-mosaic"]
    print("| folder | " + " | ".join(f"{m}: own | standard" for m in METRICS) + " | " + " | ".join(f"{m}: hold-out | test" for m in methods) + " |")
    print("|---" * (1 + 2 * len(METRICS) + 2 * len(methods)) + "|")
    for folder in folders:
        cells = [part for metric in METRICS for part in alike(folder, folders[0], metric, class_of)]
        cells += [part for method in methods for part in top1(folder, method)]
        print(f"| {folder.name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

"""The metrics of the trace with pyarrow and numpy, as a careful person writes them: file by file, arrays added up in place.

    scores_numpy.py DIR SEEDS     prints the seconds, then each metric's mean over the samples, weighted by place
"""

import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

COLUMNS = ["pass", "correct", "was_correct", "loss", "el2n", "margin_logit", "margin_prob", "p_true", "entropy", "grad_last"]


def of_seed(folder):
    files = sorted(folder.glob("epoch=*.parquet"), key=lambda path: int(path.stem.split("=")[1]))
    train, evals, rows, eval_files, last = {}, {}, 0, 0, []
    for path in files:
        table = pq.read_table(path, columns=COLUMNS)
        rows += 1
        part = table.filter(pc.equal(table["pass"], "train"))
        take = lambda name: part[name].to_numpy().astype(np.float64)
        right = part["correct"].to_numpy()
        was = part["was_correct"].fill_null(False).to_numpy(zero_copy_only=False)
        p = take("p_true")
        for name, values in [("el2n-train", take("el2n")), ("aum", take("margin_logit")), ("aum-prob", take("margin_prob")),
                             ("confidence", p), ("squares", p * p), ("forgetting", was & ~right), ("right", right)]:
            train[name] = train[name] + values if name in train else values.astype(np.float64)
        last = (last + [p])[-7:]
        part = table.filter(pc.equal(table["pass"], "eval"))
        if part.num_rows:
            eval_files += 1
            for name, column in [("el2n", "el2n"), ("grand", "grad_last"), ("loss", "loss"), ("entropy", "entropy")]:
                values = part[column].to_numpy().astype(np.float64)
                evals[name] = evals[name] + values if name in evals else values
    mean = train["confidence"] / rows
    windows = [np.std(last[at : at + 3], axis=0) for at in range(len(last) - 2)]
    return {
        **{name: train[name] / rows for name in ["el2n-train", "aum", "aum-prob", "confidence"]},
        **{name: values / eval_files for name, values in evals.items()},
        "variability": np.sqrt(np.maximum(train["squares"] / rows - mean * mean, 0)),
        "forgetting": np.where(train["right"] > 0, train["forgetting"], rows),
        "cad": np.mean(windows[-5:], axis=0),
    }


def main():
    folder, seeds = Path(sys.argv[1]), int(sys.argv[2])
    start = time.perf_counter()
    sums = {}
    for seed in range(seeds):
        for name, values in of_seed(folder / f"seed={seed}").items():
            sums[name] = sums[name] + values if name in sums else values
    found = {name: (values / seeds).astype(np.float32) for name, values in sums.items()}
    print(f"seconds {time.perf_counter() - start:.3f}")
    for name in sorted(found):
        weights = 1 + np.arange(len(found[name])) / len(found[name])
        print(f"{name} {(found[name].astype(np.float64) * weights).mean():.9f}")


if __name__ == "__main__":
    main()

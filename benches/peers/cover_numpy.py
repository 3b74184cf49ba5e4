"""Coverage rules with numpy over the whole matrix of distances, as they are mostly written.

    cover_numpy.py DIR SAMPLES KEEP RULE     herding or facility-location; prints the seconds, the first row kept, and the sum of all kept
"""

import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq


def herding(x, keep):
    mean, total, kept = x.mean(0), np.zeros(x.shape[1]), []
    for step in range(keep):
        distance = np.linalg.norm((step + 1) * mean - total - x, axis=1)
        distance[kept] = np.inf
        kept.append(int(distance.argmin()))
        total += x[kept[-1]]
    return kept


def facility_location(x, keep):
    x = x - x.mean(0)
    squares = (x * x).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * (x @ x.T), 0))
    kept = [int(distances.sum(0).argmin())]
    nearest = distances[kept[0]].copy()
    while len(kept) < keep:
        gains = np.maximum(nearest[:, None] - distances, 0).sum(0)
        gains[kept] = -1
        kept.append(int(gains.argmax()))
        nearest = np.minimum(nearest, distances[kept[-1]])
    return kept


def main():
    folder, count, keep, rule = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    start = time.perf_counter()
    column = pq.read_table(folder / "seed=0/features.parquet", columns=["features"])["features"].combine_chunks()
    x = column.flatten().to_numpy().reshape(count, -1).astype(np.float64)
    kept = herding(x, keep) if rule == "herding" else facility_location(x, keep)
    print(f"seconds {time.perf_counter() - start:.3f}")
    print(f"first {kept[0]}")
    print(f"sum {sum(kept)}")


if __name__ == "__main__":
    main()

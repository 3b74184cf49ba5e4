"""Class-balanced selection with numpy: one sort by (class, score, hash), then the first of each class.

    select_numpy.py SAMPLES CLASSES KEEP RULE     easy-first or hard-first; prints the seconds, how many are kept, and the sum of their rows
"""

import sys
import time

import numpy as np


def mixed(rows):
    rows = (rows * np.uint32(2654435761)).astype(np.uint32)
    rows = (rows << np.uint32(13)) | (rows >> np.uint32(19))
    return (rows * np.uint32(0x9E3779B9)).astype(np.uint32)


def main():
    count, classes, keep, rule = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    rows = np.arange(count, dtype=np.uint32)
    labels, hashes = rows % classes, mixed(rows)
    scores = (mixed(rows ^ np.uint32(0x5555)) >> np.uint32(12)).astype(np.float32)
    start = time.perf_counter()
    order = np.lexsort((rows, hashes, scores if rule == "easy-first" else -scores, labels))
    starts = np.searchsorted(labels[order], np.arange(classes))
    kept = order[(starts[:, None] + np.arange(keep)).ravel()]
    print(f"seconds {time.perf_counter() - start:.3f}")
    print(f"kept {len(kept)}")
    print(f"sum {int(kept.astype(np.uint64).sum())}")


if __name__ == "__main__":
    main()

"""Changes a part of the labels of a Parquet set at random, and keeps the right ones in a column of their own.

    label_noise.py SRC.parquet OUT --part 0.2 [--seed 0]

OUT/train-00000-of-00001.parquet has the columns of SRC, with `label` changed for the part of the rows (each to another class, all
equally likely) and `true_label` as it was. Exactly round(part x rows) labels are wrong.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    table = pq.read_table(arguments.source)
    labels = table["label"].to_numpy().copy()
    classes = int(labels.max()) + 1
    random = np.random.default_rng(arguments.seed)
    wrong = random.permutation(len(labels))[: round(arguments.part * len(labels))]
    shift = random.integers(1, classes, len(wrong))
    noisy = labels.copy()
    noisy[wrong] = (labels[wrong] + shift) % classes
    at = table.schema.get_field_index("label")
    field = table.schema.field(at)
    table = table.set_column(at, field, pa.array(noisy, field.type))
    table = table.append_column("true_label", pa.array(labels, pa.int64()))
    arguments.out.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, arguments.out / "train-00000-of-00001.parquet", row_group_size=1000)
    print(f"{len(wrong)} of {len(labels)} labels changed")


if __name__ == "__main__":
    main()

"""The set of claim 6: 100 photographs of a Parquet set under 1,000 class names, so that a teacher's labels have 1,000 numbers.

    claim_06_set.py SRC.parquet CLASSES.txt OUT

CLASSES.txt is written with the names, one a line, for --teacher-classes; OUT/train-00000-of-00001.parquet has the columns image and label.
"""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

IMAGES, CLASSES = 100, 1000


def main():
    source, classes, out = (Path(argument) for argument in sys.argv[1:])
    pictures = pq.read_table(source, columns=["image"])["image"]
    every = len(pictures) // IMAGES
    pictures = [pictures[number * every].as_py() for number in range(IMAGES)]
    names = [f"class{number:04}" for number in range(CLASSES)]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema(
        [("image", image), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    labels = [number * (CLASSES // IMAGES) for number in range(IMAGES)]
    table = pa.table({"image": pa.array(pictures, image), "label": pa.array(labels, pa.int64())}, schema=schema)
    classes.write_text("\n".join(names) + "\n")
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, out / "train-00000-of-00001.parquet")


if __name__ == "__main__":
    main()

"""What `smalti inspect` and `smalti compress` cost against the number of input images: seconds of each stage, and the peak of memory.

    .venv/bin/python benches/size.py [--most N] [--form FORM] [--side PX]     # after `make build`; a million images take a quarter of an hour and 5 GB of disk

Each set is generated (ten classes, 32 px, JPEG, all different) and removed again: a file an image, one Parquet file with a single row group, or one tar. `compress` keeps 10 images per class: at random, by given scores,
and, up to 10,000 images, by proxies that it trains itself. A stage's seconds end with the line that it prints. Peak memory is the resident set's maximum, as the
system counts it for the child process.
"""

import argparse
import io
import multiprocessing
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from machine import ROOT, processor

COUNTS = [1_000, 10_000, 100_000, 1_000_000]
# More would train for an hour.
MOST_FOR_PROXIES = 10_000
PROGRAM = ROOT / "target/release/smalti"


def pictures(count, side):
    """(number, JPEG) of each image."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(7)
    for at in range(count):
        small = random.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(small).resize((side, side)).save(out, "JPEG", quality=80)
        yield at, out.getvalue()


def write_folder(path, images):
    for name in range(10):
        (path / f"class-{name}").mkdir(parents=True)
    for at, data in images:
        (path / f"class-{at % 10}" / f"{at:07}.jpg").write_bytes(data)


def write_parquet(path, images):
    """As `datasets` writes a set, but that all rows are one group."""
    import pyarrow as pa
    from pyarrow import parquet

    path.mkdir()
    rows = [({"bytes": data, "path": f"{at:07}.jpg"}, at % 10) for at, data in images]
    image = pa.array([image for image, _ in rows], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"image": image, "label": pa.array([label for _, label in rows], pa.int64())})
    parquet.write_table(table, path / "train.parquet", row_group_size=len(rows))


def write_tar(path, images):
    """As webdataset streams a set."""
    path.mkdir()
    with tarfile.open(path / "train-000000.tar", "w") as tar:
        for at, data in images:
            for ending, content in (("jpg", data), ("cls", str(at % 10).encode())):
                member = tarfile.TarInfo(f"{at:07}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


FORMS = {"folder": write_folder, "parquet": write_parquet, "tar": write_tar}


# What writes sets is imported where it is used: the process that starts ours stays small.
def write(form, folder, count, side):
    FORMS[form](folder / "in", pictures(count, side))
    write_scores(folder / "scores.parquet", count)


def size_of(path):
    """MiB of all files."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**20


def write_scores(path, count):
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    values = np.random.default_rng(8).random(count, dtype=np.float32)
    parquet.write_table(pa.table({"sample": pa.array(np.arange(count, dtype=np.uint32)), "score": values}), path)


def run(arguments, cache):
    """Seconds until each line, by its first word; all seconds; the peak in MiB, which wait4 reports for this one child."""
    # A proxy of an earlier run must not save this one its time.
    environment = {**os.environ, "SMALTI_CACHE": str(cache)}
    start = time.perf_counter()
    child = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    stages, before = {}, 0.0
    for line in child.stderr:
        word, now = line.split(maxsplit=1)[0], time.perf_counter() - start
        stages[word] = stages.get(word, 0.0) + now - before
        before = now
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"smalti {' '.join(map(str, arguments))} failed with status {status}")
    return stages, time.perf_counter() - start, usage.ru_maxrss / 1024


def row(count, what, arguments, cache):
    stages, seconds, peak = run(arguments, cache)
    parts = ", ".join(f"{stage} {spent:.1f}" for stage, spent in stages.items() if spent >= 0.05)
    print(f"| {count:,} | {what} | {seconds:.1f} s | {parts} | {peak:.0f} MiB |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=COUNTS[-1])
    parser.add_argument("--form", choices=FORMS, default="folder")
    parser.add_argument("--side", type=int, default=32, help="pixels")
    asked = parser.parse_args()
    print(f"{processor()}, images just written and so in the system's memory.\n")
    print("| images | command | time | seconds by stage | peak |\n|---:|---|--:|---|--:|")
    for count in (count for count in COUNTS if count <= asked.most):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            source = folder / "in"
            # By a process of its own: a child's peak begins at what its parent holds.
            writer = multiprocessing.get_context("spawn").Process(target=write, args=(asked.form, folder, count, asked.side))
            writer.start()
            writer.join()
            if writer.exitcode != 0:
                sys.exit("the images could not be written")
            cache, ten = folder / "cache", ["--ipc", "10"]
            row(count, f"inspect ({asked.form}, {size_of(source):,.0f} MiB)", ["inspect", source], cache)
            row(count, "compress --rule random", ["compress", source, "--out", folder / "random", "--preset", "random", *ten], cache)
            scored = ["--preset", "el2n-easy", "--scores", folder / "scores.parquet", "--hard-end", "high", *ten]
            row(count, "compress --scores", ["compress", source, "--out", folder / "scored", *scored], cache)
            if count <= MOST_FOR_PROXIES and asked.side == 32:
                row(count, "compress, with proxies", ["compress", source, "--out", folder / "default", *ten], cache)


if __name__ == "__main__":
    main()

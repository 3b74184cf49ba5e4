"""Peak memory of `smalti inspect` and `smalti compress` against the number of input images.

Run from the repository's root after `make build`, with the full environment: .venv/bin/python benches/memory.py
Each set is generated (ten classes, 32 px, one JPEG a file, all different) and removed again. Peak memory is the resident set's maximum, as the
system counts it for the child process.
"""

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

COUNTS = [1_000, 10_000, 100_000]
PROGRAM = Path("target/release/smalti")


def generate(root: Path, count: int) -> None:
    random = np.random.default_rng(7)
    for at in range(count):
        if at < 10:
            (root / f"class-{at}").mkdir(parents=True)
        small = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(small).resize((32, 32)).save(out, "JPEG", quality=80)
        (root / f"class-{at % 10}" / f"{at:06}.jpg").write_bytes(out.getvalue())


def peak_mib(arguments: list[str]) -> float:
    """Peak resident memory in MiB; wait4 reports it for this one child."""
    child = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"smalti {' '.join(arguments)} failed with status {status}")
    return usage.ru_maxrss / 1024


def main() -> None:
    print("| images | inspect | compress | compress, Parquet |")
    print("|---:|---:|---:|---:|")
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            generate(root / "in", count)
            source = str(root / "in")
            random = ["--preset", "random", "--ipc", "10"]
            cells = [peak_mib(["inspect", source, "--json"])]
            for at, more in enumerate([[], ["--format", "parquet"]]):
                cells.append(peak_mib(["compress", source, "--out", str(root / f"out{at}"), *random, *more]))
            print(f"| {count:,} | " + " | ".join(f"{mib:.1f} MiB" for mib in cells) + " |", flush=True)


if __name__ == "__main__":
    main()

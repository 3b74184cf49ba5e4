"""What scaled decoding changes: photographs decoded in full or as Pillow's draft (whose pixels `--decode scaled` has), then resized.

Run from the repository's root: .venv/bin/python benches/scaled_effect.py FILE.tar   (a tar of JPEG photographs)
"""

import io
import sys
import tarfile

import numpy as np
from PIL import Image


def main() -> None:
    with tarfile.open(sys.argv[1]) as archive:
        files = [archive.extractfile(member).read() for member in archive.getmembers() if member.isfile()]
    print("| side | photographs decoded smaller | mean difference in levels | largest |")
    print("|---:|---:|---:|---:|")
    for side in (224, 96, 64, 32):
        means, largest = [], 0
        for data in files:
            full = Image.open(io.BytesIO(data)).convert("RGB")
            draft = Image.open(io.BytesIO(data))
            draft.draft("RGB", (side, side))
            draft = draft.convert("RGB")
            if draft.size == full.size:
                continue
            pixels = [np.asarray(image.resize((side, side), Image.BILINEAR), dtype=int) for image in (full, draft)]
            off = np.abs(pixels[0] - pixels[1])
            means.append(off.mean())
            largest = max(largest, off.max())
        print(f"| {side} | {len(means)} of {len(files)} | {np.mean(means):.1f} | {largest} |")


if __name__ == "__main__":
    main()

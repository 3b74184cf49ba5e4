"""Images of noise with the class names of a labelled folder: the set of the claim that soft labels carry knowledge which is not in the images.

    noise_set.py CLASSES.txt OUT --ipc 10 --size 64 [--seed 0]

CLASSES.txt holds one class name a line. Each pixel of each channel is uniform in 0..255; PNG, OUT/train/CLASS/NUMBER.png.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("classes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    numbers = np.random.default_rng(asked.seed)
    names = [line.strip() for line in asked.classes.read_text().splitlines() if line.strip()]
    for name in names:
        folder = asked.out / "train" / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(asked.ipc):
            pixels = numbers.integers(0, 256, (asked.size, asked.size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:05}.png")
    print(f"{asked.out}: {asked.ipc} images in each of {len(names)} classes")


if __name__ == "__main__":
    main()

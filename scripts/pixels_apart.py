"""Mean absolute difference, in levels of 0 to 255, between images of the same name in two sets.

    pixels_apart.py SET OTHER
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def main():
    one, other = (Path(name) for name in sys.argv[1:])
    images = [path.relative_to(one) for path in sorted(one.rglob("*")) if path.suffix in (".png", ".jpg")]
    apart = [np.abs(pixels(one / name) - pixels(other / name)).mean() for name in images]
    print(f"{len(apart)} images, {np.mean(apart):.1f} levels apart in the mean")


if __name__ == "__main__":
    main()

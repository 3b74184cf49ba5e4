"""Where the limit of data_speed.py lies: what decoding alone takes of its photographs on one core, and how many of its crops could be decoded at half their size.

    .venv/bin/python benches/decode_share.py
"""
import time

import torch
from torchvision.io import decode_jpeg
from torchvision.transforms import RandomResizedCrop

from data_speed import Image, io, photographs


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    pictures = [(data, Image.open(io.BytesIO(data))) for data in photographs()]
    pictures = [(data, picture) for data, picture in pictures if picture.format == "JPEG" and picture.mode == "RGB"]
    crops = [RandomResizedCrop.get_params(picture, (0.08, 1.0), (3 / 4, 4 / 3)) for _, picture in pictures]
    stored = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data, _ in pictures]
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        for data in stored:
            decode_jpeg(data)
        seconds.append(time.perf_counter() - start)
    large = sum(min(height, width) >= 448 for _, _, height, width in crops)
    print(f"torchvision's decoder alone: {1000 * min(seconds) / len(stored):.2f} ms an image, the best of five")
    print(f"{large} of {len(crops)} crops have 448 px on both sides, {sum(min(picture.size) >= 448 for _, picture in pictures)} of the photographs")


if __name__ == "__main__":
    main()

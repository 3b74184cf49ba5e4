"""Images per second from stored JPEGs to pixels on one core, as torchvision and Pillow do it: the other side of benches/data_speed.py.

    pixels_python.py torchvision|torchvision-decoder|pillow-tiles|pillow-draft-tiles FOLDER SECONDS OUT

torchvision: PIL's decoder and v2's resized_crop on the picture, as the field's ImageFolder pipelines run it; torchvision-decoder: its own decoder and resized_crop on
tensors; pillow-tiles: decode, resize, paste and encode; pillow-draft-tiles: decode as small as the tile allows first. The random box of RandomResizedCrop is given, so that both sides crop alike.
"""
import io
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

SIDE = 224


def torchvision(data, box):
    left, top, width, height = box
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    return v2.functional.resized_crop(picture, top, left, height, width, [SIDE, SIDE], antialias=True)


def torchvision_decoder(data, box):
    left, top, width, height = box
    picture = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
    return v2.functional.resized_crop(picture, top, left, height, width, [SIDE, SIDE], antialias=True)


def mosaic(four, work):
    whole = Image.new("RGB", (SIDE, SIDE))
    for number, data in enumerate(four):
        stored = Image.open(io.BytesIO(data))
        if work == "pillow-draft-tiles":
            stored.draft("RGB", (SIDE // 2, SIDE // 2))
        tile = stored.convert("RGB").resize((SIDE // 2, SIDE // 2), Image.Resampling.BILINEAR)
        whole.paste(tile, (number % 2 * SIDE // 2, number // 2 * SIDE // 2))
    whole.save(io.BytesIO(), "JPEG", quality=95, subsampling=0)
    return whole


def pixels(made):
    if isinstance(made, torch.Tensor):
        return made.permute(1, 2, 0).numpy().tobytes()
    return np.asarray(made).tobytes()


def main():
    work, folder, seconds, out = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    torch.set_num_threads(1)
    boxes = json.loads((folder / "boxes.json").read_text())
    photos = [(folder / f"{number}.jpg").read_bytes() for number in range(len(boxes))]

    def run():
        if work.endswith("tiles"):
            return [mosaic(photos[at : at + 4], work) for at in range(0, len(photos) // 4 * 4, 4)]
        one = {"torchvision": torchvision, "torchvision-decoder": torchvision_decoder}[work]
        return [one(data, box) for data, box in zip(photos, boxes)]

    out.write_bytes(b"".join(pixels(made) for made in run()))
    each = len(photos) // 4 * 4 if work.endswith("tiles") else len(photos)
    start, images = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        run()
        images += each
    spent = time.perf_counter() - start
    print(json.dumps({"images_per_second": images / spent, "seconds": spent}))


if __name__ == "__main__":
    main()

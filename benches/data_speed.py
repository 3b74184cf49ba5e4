"""From stored JPEGs to pixels on one core: ours against torchvision and Pillow on the same photographs and boxes.

    .venv/bin/python benches/data_speed.py [--repeats N] [--seconds S]

As train_speed.py: programs in turn, each alone on the machine, medians as a Markdown table. Pixels are compared before times are: exact crops
are torchvision's of tensors to the byte; crops and mosaics may differ from Pillow's by rounding, in few values. The photographs are those of 75 of ImageNet that are JPEGs in colour from
../shared/data, or noise where that is absent. About three minutes.
"""
import argparse
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import RandomResizedCrop

from machine import Guard, ROOT, SHARED, cell, processor, run_alone
from train_speed import noise

# What is done, our work, the peer's, the mean and largest difference of values in levels that are the same picture, none
# where decoding at a smaller size makes another one, and the least ratio.
WORK = [
    ("decode + RandomResizedCrop(224) + resize", "crops", "torchvision", (0.01, 2), 1.2),
    ("the same, its own decoder", "crops", "torchvision-decoder", (0, 0), 1.0),
    ("the same, ours decoded at 1/2 to 1/8 where the crop allows", "crops-scaled", "torchvision", None, 1.2),
    ("decode + resize + tile + encode", "tiles", "pillow-tiles", (0.01, 1), 1.15),
    ("the same, both decoded at 1/2 to 1/8 where the tile allows", "tiles-scaled", "pillow-draft-tiles", (0.01, 1), 1.0),
]


def photographs():
    source = SHARED / "imagenet-sample-75.tar"
    if not source.exists():
        for image, _ in noise(400):
            data = io.BytesIO()
            image.save(data, "JPEG", quality=90)
            yield data.getvalue()
        return
    with tarfile.open(source) as archive:
        for member in archive.getmembers():
            if member.isfile() and member.name.lower().endswith((".jpg", ".jpeg")):
                yield archive.extractfile(member).read()


def write(folder):
    """NUMBER.jpg and the box of a RandomResizedCrop for each."""
    torch.manual_seed(0)
    boxes = []
    for data in photographs():
        picture = Image.open(io.BytesIO(data))
        if picture.format != "JPEG" or picture.mode != "RGB":
            continue
        top, left, height, width = RandomResizedCrop.get_params(picture, (0.08, 1.0), (3 / 4, 4 / 3))
        (folder / f"{len(boxes)}.jpg").write_bytes(data)
        boxes.append([left, top, width, height])
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return len(boxes)


def command(side, work, folder, seconds, out):
    if side == "ours":
        return [ROOT / "target/release/examples/pixels", work, folder, str(seconds), out]
    return [sys.executable, ROOT / "benches/peers/pixels_python.py", work, folder, str(seconds), out]


def difference(a, b):
    left, right = (np.frombuffer(path.read_bytes(), np.uint8).astype(int) for path in (a, b))
    off = np.abs(left - right)
    return float(off.mean()), int(off.max())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    asked = parser.parse_args()
    build = ["cargo", "build", "--release", "--quiet", "--locked", "--workspace", "--example", "pixels"]
    subprocess.run(build, check=True, cwd=ROOT)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        count = write(folder)
        print(f"{processor()}. {count} photographs, one core, images per second: median of {asked.repeats} runs in turns (± half the range).\n")
        print("| work | ours | peer | ours / peer | the peer | difference in levels: mean, largest |")
        print("|---|--:|--:|--:|---|--:|")
        guard = Guard()
        for what, own, peer, allowed, least in WORK:
            rates, outs = {"ours": [], "peer": []}, {side: folder / f"{side}.bin" for side in ("ours", "peer")}
            for _ in range(asked.repeats):
                for side, work in (("ours", own), ("peer", peer)):
                    row = run_alone(command(side, work, folder, asked.seconds, outs[side]))
                    rates[side].append(row["images_per_second"])
            mean, largest = difference(outs["ours"], outs["peer"])
            if allowed is not None and (mean > allowed[0] or largest > allowed[1]):
                sys.exit(f"{what}: pixels are {mean:.4f} levels apart, {largest} at most; {allowed} are allowed: not the same work")
            ratio = statistics.median(rates["ours"]) / statistics.median(rates["peer"])
            print(f"| {what} | {cell(rates['ours'])} | {cell(rates['peer'])} | {ratio:.2f}x | {peer} | {mean:.4f}, {largest} |", flush=True)
            guard.check(what, ratio, least)
        guard.exit()


if __name__ == "__main__":
    main()

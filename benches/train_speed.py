"""Student training, side by side: ours against PyTorch on the same images, network, batch, size and number of steps.

    .venv/bin/python benches/train_speed.py [--repeats N] [--only NETWORK]

Runs the programs in turn (ours, PyTorch default, PyTorch tuned, ours, ...), each alone on the machine, and prints a Markdown table of
medians. About eight minutes on two cores. Linux only: it notices when another program is at work.
"""
import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torchvision
from PIL import Image
from pyarrow.parquet import ParquetFile

from machine import Guard, ROOT, SHARED, cell, processor, run_alone

PER_CLASS = 50
# Network, side in px, batch, steps, where the images come from, and the least ratios to the default and the tuned PyTorch.
WORK = [
    ("convnet-3/128", 32, 50, 24, "cifar10/train.parquet", (2.0, 1.0)),
    ("convnet-4/64", 96, 50, 12, "imagenette-128/train.parquet", (2.5, 1.3)),
    ("resnet18-small", 32, 128, 3, "cifar10/train.parquet", (1.7, 0.85)),
    ("mobilenet_v2", 64, 50, 12, "imagenette-128/train.parquet", (1.6, 1.4)),
]
KINDS = ["ours", "default", "tuned"]


def write_images(folder, source, size):
    """An ImageFolder of 50 images per class at the training size, PNG up to 64 px and JPEG above; noise where the data is absent."""
    counts = dict.fromkeys(range(10), 0)
    for image, label in stored(SHARED / source) if (SHARED / source).exists() else noise(size):
        if counts[label] == PER_CLASS:
            continue
        path = folder / f"{label}" / f"{counts[label]:03}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        if size <= 64:
            image.save(path.with_suffix(".png"))
        else:
            image.save(path.with_suffix(".jpg"), quality=95, subsampling=0)
        counts[label] += 1
        if min(counts.values()) == PER_CLASS:
            return


def stored(path):
    for part in ParquetFile(path).iter_batches(500):
        for row in part.to_pylist():
            image = row.get("image") or row["img"]
            yield Image.open(io.BytesIO(image["bytes"])), row["label"]


def noise(size):
    print(f"note: {SHARED} is absent, the images are noise", file=sys.stderr)
    for number in range(10 * PER_CLASS):
        yield Image.frombytes("RGB", (size, size), os.urandom(size * size * 3)), number % 10


def command(kind, folder, weights, name, size, batch, steps):
    work = [folder, name, str(size), str(batch), str(steps)]
    if kind == "ours":
        return [ROOT / "target/release/examples/speed", *work, "0", weights]
    return [sys.executable, ROOT / "benches/peers/train_pytorch.py", *work, kind, weights]


def measure(work, folder, scratch, repeats):
    """Images per second by kind, each as often as `repeats`; the same weights must have the same loss everywhere, to the precision of bf16."""
    rates = {kind: [] for kind in KINDS}
    name, size, batch, steps, *_ = work
    for turn in range(repeats):
        losses = {}
        for kind in KINDS:
            row = run_alone(command(kind, folder, scratch / "weights.safetensors", name, size, batch, steps))
            rates[kind].append(row["images_per_second"])
            losses[kind] = row["first_loss"]
            print(f"{name} {turn + 1}/{repeats} {kind}: {row}", file=sys.stderr)
        if max(losses.values()) - min(losses.values()) > 0.01 * max(losses.values()):
            sys.exit(f"{name}: not the same network, its first loss is {losses}")
    return rates


def side_by_side(work, folder, scratch, repeats):
    """Images per second of as many students at once as there are cores, a thread each, all together."""
    name, size, batch, steps, *_ = work
    one = [ROOT / "target/release/examples/speed", folder, name, str(size), str(batch), str(steps)]
    together = []
    for _ in range(repeats):
        started = [subprocess.Popen([*one, "1", scratch / f"weights-{n}"], stdout=subprocess.PIPE, text=True) for n in range(os.cpu_count())]
        together.append(sum(json.loads(process.communicate()[0])["images_per_second"] for process in started))
    return together


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", help="one network of the list")
    options = parser.parse_args()
    build = ["cargo", "build", "--release", "--quiet", "-p", "smalti-learn", "--example", "speed"]
    subprocess.run(build, check=True, cwd=ROOT)
    print(f"{processor()}; torch {torch.__version__}, torchvision {torchvision.__version__}, Python {platform.python_version()}")
    print(f"Images per second, loader included: median of {options.repeats} runs in turns (± half the range).\n")
    seeds, guard = [], Guard()
    print("| network | px | batch | steps | ours | PyTorch default | ours / default | PyTorch tuned | ours / tuned |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for work in WORK:
        name, size, batch, steps, source, (least_default, least_tuned) = work
        if options.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder, scratch = Path(temporary) / "images", Path(temporary)
            write_images(folder, source, size)
            rates = measure(work, folder, scratch, options.repeats)
            together = side_by_side(work, folder, scratch, options.repeats)
        gain = statistics.median(together) / statistics.median(rates["ours"])
        seeds.append(f"| {name} | {size} | {batch} | {cell(rates['ours'])} | {cell(together)} | {gain:.2f}x |")
        ours, default, tuned = (statistics.median(rates[kind]) for kind in KINDS)
        ratios = f"{cell(rates['ours'])} | {cell(rates['default'])} | {ours / default:.2f}x | {cell(rates['tuned'])} | {ours / tuned:.2f}x"
        print(f"| {name} | {size} | {batch} | {steps} | {ratios} |", flush=True)
        guard.check(f"{name} against the default", ours / default, least_default)
        guard.check(f"{name} against the tuned", ours / tuned, least_tuned)
    print("\nSeeds one after another with all threads, and as many at once as there are cores, a thread each; images per second of all together.\n")
    print("| network | px | batch | one after another | side by side | gain |\n|---|--:|--:|--:|--:|--:|")
    print("\n".join(seeds), flush=True)
    guard.exit()


if __name__ == "__main__":
    main()

"""Student training, side by side: ours against PyTorch on the same images, network, batch, size and number of steps.

    .venv/bin/python benches/train_speed.py [--repeats N] [--only NETWORK]

Runs the programs in turn (ours, PyTorch default, PyTorch tuned, ours, ...), each alone on the machine, and prints a Markdown table of
medians. About four minutes on two cores. Linux only: it notices when another program is at work.
"""
import argparse
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torchvision
from PIL import Image
from pyarrow.parquet import ParquetFile

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared/data"
PER_CLASS = 50
# Network, side in px, batch, steps, where the images come from.
WORK = [
    ("convnet-3/128", 32, 50, 40, "cifar10/train.parquet"),
    ("convnet-4/64", 96, 50, 16, "imagenette-128/train.parquet"),
    ("resnet18-small", 32, 128, 4, "cifar10/train.parquet"),
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


def command(kind, folder, name, size, batch, steps):
    work = [folder, name, str(size), str(batch), str(steps)]
    if kind == "ours":
        return [ROOT / "target/release/examples/speed", *work]
    return [sys.executable, ROOT / "benches/peers/train_pytorch.py", *work, kind]


def busy_seconds():
    """Processor seconds that anything on the machine has used, and those of our own children."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, *rest = (int(x) for x in stat.readline().split()[1:])
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK"), own.ru_utime + own.ru_stime


def run_alone(arguments):
    """The JSON row that a program prints. Repeated, up to three times, while other programs take more than 4 % of the processor."""
    for attempt in range(4):
        start, (all_before, own_before) = time.time(), busy_seconds()
        out = subprocess.run(arguments, check=True, capture_output=True, text=True)
        all_after, own_after = busy_seconds()
        others = ((all_after - all_before) - (own_after - own_before)) / (time.time() - start) / os.cpu_count()
        if others < 0.04:
            break
        print(f"note: other programs took {others:.0%} of the processor", file=sys.stderr)
    return json.loads(out.stdout)


def measure(work, folder, repeats):
    rates = {kind: [] for kind in KINDS}
    name, size, batch, steps, _ = work
    for turn in range(repeats):
        for kind in KINDS:
            row = run_alone(command(kind, folder, name, size, batch, steps))
            rates[kind].append(row["images_per_second"])
            print(f"{name} {turn + 1}/{repeats} {kind}: {row}", file=sys.stderr)
    return rates


def cell(rates):
    middle = statistics.median(rates)
    return f"{middle:.0f} (±{100 * (max(rates) - min(rates)) / 2 / middle:.0f} %)"


def processor():
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [row.split(":")[1].strip() for row in text.splitlines() if row.startswith("model name")]
    bf16 = "with" if "avx512_bf16" in text else "without"
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {bf16} avx512_bf16"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", help="one network of the list")
    options = parser.parse_args()
    build = ["cargo", "build", "--release", "--quiet", "-p", "smalti-learn", "--example", "speed"]
    subprocess.run(build, check=True, cwd=ROOT)
    print(f"{processor()}; torch {torch.__version__}, torchvision {torchvision.__version__}, Python {platform.python_version()}")
    print(f"Images per second, loader included: median of {options.repeats} runs in turns (± half the range).\n")
    print("| network | px | batch | steps | ours | PyTorch default | ours / default | PyTorch tuned | ours / tuned |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for work in WORK:
        name, size, batch, steps, source = work
        if options.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            write_images(Path(folder), source, size)
            rates = measure(work, folder, options.repeats)
        ours, default, tuned = (statistics.median(rates[kind]) for kind in KINDS)
        ratios = f"{cell(rates['ours'])} | {cell(rates['default'])} | {ours / default:.2f}x | {cell(rates['tuned'])} | {ours / tuned:.2f}x"
        print(f"| {name} | {size} | {batch} | {steps} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()

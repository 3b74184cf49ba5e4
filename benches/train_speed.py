"""Student training, side by side: ours against PyTorch on the same images, network, batch, size and number of steps.

    .venv/bin/python benches/train_speed.py [--repeats N] [--only NETWORK]

Runs the programs in turn (ours, PyTorch default, PyTorch tuned, ours, ...), each alone on the machine while the others wait, and prints Markdown tables of
medians. Linux only: it notices when another program is at work.
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

from machine import Guard, ROOT, SHARED, Side, cell, has_bf16, processor

PER_CLASS = 50
# Network, side in px, batch, steps, where the images come from, and the least ratios to the default and the tuned PyTorch: on processors with bf16, and on those without.
WORK = [
    ("convnet-3/128", 32, 50, 24, "cifar10/train.parquet", (2.4, 1.05), (1.3, 0.9)),
    # One image per class.
    ("convnet-3/128", 32, 10, 60, "cifar10/train.parquet", (2.0, 1.05), (1.1, 0.85)),
    ("convnet-4/64", 96, 50, 12, "imagenette-128/train.parquet", (3.2, 1.1), (1.2, 0.85)),
    ("resnet18-small", 32, 128, 3, "cifar10/train.parquet", (1.7, 0.85), (0.9, 0.65)),
    ("resnet18", 64, 50, 12, "imagenette-128/train.parquet", (1.5, 1.0), (1.2, 0.9)),
    ("mobilenet_v2", 64, 50, 12, "imagenette-128/train.parquet", (1.8, 1.5), (1.2, 1.0)),
]
# The least ratios of evaluation, on either kind of processor: what varies most there is the peer.
EVALUATION = ((2.2, 0.75), (1.2, 0.5))
# Too long to compile for more of them in the time of the bench.
COMPILED = [("convnet-3/128", 50), ("resnet18", 50)]
SIDE_BY_SIDE = [("convnet-3/128", 50), ("resnet18-small", 128)]
KINDS = ["ours", "default", "tuned"]
# What our program tells its allocator: freed memory is kept.
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1"}


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


def command(kind, folder, weights, name, size, batch, steps, threads=0):
    """What one side runs. 0 threads are all cores, which the peer always has."""
    work = [folder, name, str(size), str(batch), str(steps)]
    if kind == "ours":
        return [ROOT / "target/release/examples/speed", *work, str(threads), weights]
    return [sys.executable, ROOT / "benches/peers/train_pytorch.py", *work, kind, weights]


def measure(work, folder, scratch, repeats):
    """Rows by kind, each as often as `repeats`; the same weights must have the same loss everywhere, to the precision of bf16."""
    name, size, batch, steps, *_ = work
    kinds = [*KINDS, "compiled"] if (name, batch) in COMPILED else KINDS
    rows, sides = {kind: [] for kind in kinds}, {}
    for turn in range(repeats):
        for kind in kinds:
            if kind not in sides:
                # Ours is the first, and writes the weights that the others begin with.
                environment = KEPT if kind in ("tuned", "compiled") else {}
                sides[kind] = Side(command(kind, folder, scratch / "weights.safetensors", name, size, batch, steps), **environment)
            rows[kind].append(sides[kind].turn())
            print(f"{name} {turn + 1}/{repeats} {kind}: {rows[kind][-1]}", file=sys.stderr)
        losses = {kind: rows[kind][-1]["first_loss"] for kind in kinds}
        if max(losses.values()) - min(losses.values()) > 0.01 * max(losses.values()):
            sys.exit(f"{name}: not the same network, its first loss is {losses}")
    for side in sides.values():
        side.end()
    return rows


def side_by_side(work, folder, scratch, repeats):
    """Images per second of as many students at once as there are cores, a thread each, all together."""
    name, size, batch, steps, *_ = work
    commands = [command("ours", folder, scratch / f"weights-{n}", name, size, batch, steps, threads=1) for n in range(os.cpu_count())]
    started = [subprocess.Popen(one, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for one in commands]
    for process in started:
        process.stdin.write("again\n" * repeats)
        process.stdin.close()
    rows = [process.stdout.read().splitlines() for process in started]
    if any(process.wait() != 0 for process in started) or {len(of) for of in rows} != {repeats}:
        sys.exit(f"{name}: a process of several has failed")
    return [sum(json.loads(row)["images_per_second"] for row in at_once) for at_once in zip(*rows)]


def table(title, columns, rows):
    """A Markdown table with its title."""
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|---{'|--:' * (len(columns) - 1)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def against(rates):
    """Cells of ours, the default and the tuned form, with the ratios."""
    ours, default, tuned = (statistics.median(rates[kind]) for kind in KINDS)
    return [cell(rates["ours"]), cell(rates["default"]), f"{ours / default:.2f}x", cell(rates["tuned"]), f"{ours / tuned:.2f}x"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", help="one network of the list")
    options = parser.parse_args()
    build = ["cargo", "build", "--release", "--quiet", "--locked", "--workspace", "--example", "speed"]
    subprocess.run(build, check=True, cwd=ROOT)
    print(f"{processor()}; torch {torch.__version__}, torchvision {torchvision.__version__}, Python {platform.python_version()}")
    print(f"Images per second, loader included: median of {options.repeats} runs in turns (± half the range).")
    training, evaluation, compiled, seeds, guard = [], [], [], [], Guard()
    for work in WORK:
        name, size, batch, steps, source, with_bf16, without = work
        if options.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder, scratch = Path(temporary) / "images", Path(temporary)
            write_images(folder, source, size)
            rows = measure(work, folder, scratch, options.repeats)
            together = side_by_side(work, folder, scratch, options.repeats) if (name, batch) in SIDE_BY_SIDE else None
        what = [name, str(size), str(batch)]
        rates = {kind: [row["images_per_second"] for row in rows[kind]] for kind in rows}
        training.append([*what, str(steps), *against(rates)])
        middle = {kind: statistics.median(rates[kind]) for kind in rates}
        if batch > 10:
            evaluation.append([name, str(size), *against({kind: [row["eval_images_per_second"] for row in rows[kind]] for kind in KINDS})])
        if "compiled" in rates:
            compiled.append([*what, cell(rates["tuned"]), cell(rates["compiled"]), f"{middle['ours'] / middle['compiled']:.2f}x"])
        if together:
            seeds.append([*what, cell(rates["ours"]), cell(together), f"{statistics.median(together) / middle['ours']:.2f}x"])
        for kind, bound in zip(("default", "tuned"), with_bf16 if has_bf16() else without):
            guard.check(f"{name} in batches of {batch} against the {kind}", middle["ours"] / middle[kind], bound)
        seen = {kind: statistics.median(row["eval_images_per_second"] for row in rows[kind]) for kind in KINDS}
        for kind, bound in zip(("default", "tuned"), EVALUATION[0] if has_bf16() else EVALUATION[1]):
            guard.check(f"evaluation of {name} against the {kind}", seen["ours"] / seen[kind], bound)
    peers = ["ours", "PyTorch default", "ours / default", "PyTorch tuned", "ours / tuned"]
    table("Training", ["network", "px", "batch", "steps", *peers], training)
    table("Evaluation", ["network", "px", *peers], evaluation)
    table("PyTorch tuned and through torch.compile, which compiles before the clock starts", ["network", "px", "batch", "tuned", "compiled", "ours / compiled"], compiled)
    table("Seeds one after another with all threads, and as many at once as there are cores, a thread each; images per second of all together",
          ["network", "px", "batch", "one after another", "side by side", "gain"], seeds)
    guard.exit()


if __name__ == "__main__":
    main()

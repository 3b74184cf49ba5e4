"""Recover, the loop that moves pixels: ours against PyTorch with the same network, size, batch and number of steps.

    .venv/bin/python benches/recover_speed.py [--repeats N]

As train_speed.py: programs in turn, each alone on the machine, medians as a Markdown table. That both compute the same pixels is a test
(crates/smalti-learn/tests/recover.rs). About three minutes on two cores.
"""
import argparse
import statistics
import subprocess
import sys

from machine import Guard, ROOT, cell, has_bf16, processor, run_alone

# Network, side in px, batch, steps, and the least ratios to the default and the tuned PyTorch: on processors with bf16, and on those without.
WORK = [("resnet18", 64, 100, 8, (1.6, 1.1), (1.1, 1.0)), ("convnet-4/64", 96, 100, 4, (2.6, 1.9), (2.2, 2.1))]
KINDS = ["ours", "default", "tuned"]


def command(kind, work):
    work = [str(part) for part in work]
    if kind == "ours":
        return [ROOT / "target/release/examples/recover", *work]
    return [sys.executable, ROOT / "benches/peers/recover_pytorch.py", *work, kind]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    build = ["cargo", "build", "--release", "--quiet", "--locked", "--workspace", "--example", "recover"]
    subprocess.run(build, check=True, cwd=ROOT)
    print(f"{processor()}. Image steps per second: median of {repeats} runs in turns (± half the range).\n")
    print("| network | px | batch | steps | ours | PyTorch default | ours / default | PyTorch tuned | ours / tuned |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    guard = Guard()
    for *work, with_bf16, without in WORK:
        least_default, least_tuned = with_bf16 if has_bf16() else without
        rates = {kind: [] for kind in KINDS}
        for _ in range(repeats):
            for kind in KINDS:
                rates[kind].append(run_alone(command(kind, work))["images_per_second"])
        ours, default, tuned = (statistics.median(rates[kind]) for kind in KINDS)
        ratios = f"{cell(rates['ours'])} | {cell(rates['default'])} | {ours / default:.2f}x | {cell(rates['tuned'])} | {ours / tuned:.2f}x"
        print(f"| {' | '.join(str(part) for part in work)} | {ratios} |", flush=True)
        guard.check(f"{work[0]} against the default", ours / default, least_default)
        guard.check(f"{work[0]} against the tuned", ours / tuned, least_tuned)
    guard.exit()


if __name__ == "__main__":
    main()

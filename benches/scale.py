"""Scores and selections at the size of ImageNet and beyond, side by side with numpy on the same tables.

    .venv/bin/python benches/scale.py [--small | --full]

Writes a trace of 1.28 million samples x 20 epochs x 3 seeds to a temporary folder (3 GB), computes every metric of the trace here and in numpy,
compares the results and prints time and peak memory; then chooses among 14 million samples, and by features within one class.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import Guard

ROOT = Path(__file__).resolve().parent.parent
OURS = ROOT / "target/release/examples/scale"
REPEATS = 3


def run(command):
    """Output lines as a dictionary, and the peak resident memory in MiB."""
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{command} failed")
    return dict(line.split() for line in output.splitlines()), usage.ru_maxrss / 1024


def compare(what, ours, peer, tolerance):
    """Outputs are compared before times are."""
    for name in (name for name in ours if name != "seconds"):
        a, b = float(ours[name]), float(peer[name])
        if abs(a - b) > tolerance * max(1, abs(b)):
            sys.exit(f"{what}: {name} is {a} here and {b} in numpy")


def row(what, ours, peer, guard, least=0.0, tolerance=0.0, most=math.inf):
    """Times and peaks of both; `most` is that of our memory in MiB."""
    results = {}
    for _ in range(REPEATS):
        for who, command in [("ours", ours), ("numpy", peer)]:
            if command:
                results.setdefault(who, []).append(run(command))
    if peer:
        compare(what, results["ours"][0][0], results["numpy"][0][0], tolerance)
    cells = [what]
    middle = {}
    for who in ("ours", "numpy"):
        runs = results.get(who)
        if not runs:
            cells += ["", ""]
            continue
        seconds = sorted(float(found["seconds"]) for found, _ in runs)
        middle[who] = seconds[len(seconds) // 2]
        cells += [f"{middle[who]:.2f} s (±{(seconds[-1] - seconds[0]) / 2:.2f})", f"{max(peak for _, peak in runs):,.0f} MiB"]
    cells.append(f"{middle['numpy'] / middle['ours']:.2f}x" if peer else "")
    print("| " + " | ".join(cells) + " |", flush=True)
    guard.check_peak(what, max(peak for _, peak in results["ours"]), most)
    if peer:
        guard.check(what, middle["numpy"] / middle["ours"], least)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="a hundredth of everything, to try the script")
    parser.add_argument("--full", action="store_true", help="classes of 20,000 samples too, ten minutes more")
    asked = parser.parse_args()
    # A hundredth says nothing of speed.
    part, guarded, guard = (100, 0, Guard()) if asked.small else (1, 1, Guard())
    build = ["cargo", "build", "--release", "--locked", "--workspace", "--example", "scale"]
    subprocess.run(build, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    peers = ROOT / "benches/peers"
    print("| work | ours | peak | numpy | peak | numpy / ours |")
    print("|---|--:|--:|--:|--:|--:|", flush=True)
    samples = 1_280_000 // part
    with tempfile.TemporaryDirectory() as folder:
        run([OURS, "trace", folder, samples, 20, 3])
        row(f"{samples:,} samples x 20 epochs x 3 seeds, 11 metrics", [OURS, "scores", folder, 3],
            [sys.executable, peers / "scores_numpy.py", folder, 3], guard, least=0.4 * guarded, tolerance=1e-6, most=1024)
    samples = 14_000_000 // part
    for rule in ["easy-first", "hard-first", "window:0.1", "moderate", "ccs:0.3", "random", "easy-first-global"]:
        ours = [OURS, "select", samples, 1000, 50, rule]
        peer = [sys.executable, peers / "select_numpy.py", *ours[2:]] if rule in ("easy-first", "hard-first") else None
        row(f"{rule}, {samples:,} samples in 1,000 classes", ours, peer, guard, least=4.0 * guarded, most=1536)
    with tempfile.TemporaryDirectory() as folder:
        for samples in [1_000] if asked.small else [1_000, 5_000, 20_000] if asked.full else [1_000, 5_000]:
            run([OURS, "features", folder, samples, 512])
            for rule in ["herding", "k-center", "facility-location", "facility-location-easy", "facility-location-weighted"]:
                ours = [OURS, "cover", folder, samples, 50, rule]
                # The whole matrix of 20,000 samples would not leave room for the gains.
                both = rule in ("herding", "facility-location") and samples <= 5_000
                peer = [sys.executable, peers / "cover_numpy.py", *ours[2:]] if both else None
                row(f"{rule}, one class of {samples:,} samples, 512 features, 50 kept", ours, peer, guard, least=1.1 * guarded)
    guard.exit()


if __name__ == "__main__":
    main()

"""Every bench that has a peer, one after another, into one page: what `make bench` runs.

    .venv/bin/python benches/run.py [--out FILE]

FILE is results/DATE-MACHINE-bench.md where none is given. The machine should do nothing else: runs are repeated while it does. Less than 20 minutes
on two cores.
"""
import argparse
import datetime
import platform
import subprocess
import sys
import time
from pathlib import Path

from machine import BELOW, ROOT, name, processor

PARTS = [
    ("Training", "train_speed.py", []),
    ("Recover, the loop that moves pixels", "recover_speed.py", []),
    ("From stored JPEGs to pixels", "data_speed.py", []),
    ("Scores and selections", "scale.py", []),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    out = asked.out or ROOT / "results" / f"{datetime.date.today()}-{name()}-bench.md"
    version = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    text = f"# Speed, side by side\n\n`make bench` on {datetime.date.today()}, commit {version or 'unknown'}, {processor()}, Python {platform.python_version()}. What is compared: benches/README.md.\n"
    began, below = time.time(), False
    for title, script, more in PARTS:
        start = time.time()
        done = subprocess.run([sys.executable, ROOT / "benches" / script, *more], stdout=subprocess.PIPE, text=True)
        if done.returncode not in (0, BELOW):
            sys.exit(f"{script} failed; nothing is written")
        below |= done.returncode == BELOW
        text += f"\n## {title}\n\n{done.stdout.strip()}\n\n{time.time() - start:.0f} s.\n"
        print(done.stdout, flush=True)
    text += f"\nIn all {(time.time() - began) / 60:.1f} minutes.\n"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(f"written to {out}")
    if below:
        sys.exit("some rows are outside their guards; the page says which")


if __name__ == "__main__":
    main()

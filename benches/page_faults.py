"""Page faults of a training step: what it allocates anew and the system has to clear, by the difference between runs of 10 and of 50 steps on one thread.

    .venv/bin/python benches/page_faults.py

Another program at work changes nothing. Linux only.
"""
import resource
import subprocess
import tempfile
from pathlib import Path

from train_speed import WORK, command, write_images

STEPS = (10, 50)


def faults(arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    subprocess.run([str(part) for part in arguments], input=b"again\n", check=True, capture_output=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before


def main():
    print("| network | px | batch | page faults a step |\n|---|--:|--:|--:|")
    for name, size, batch, _, source, *_ in WORK:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "images"
            write_images(folder, source, size)
            few, many = (faults(command("ours", folder, Path(temporary) / "weights", name, size, batch, steps, threads=1)) for steps in STEPS)
        print(f"| {name} | {size} | {batch} | {(many - few) / (STEPS[1] - STEPS[0]):.0f} |", flush=True)


if __name__ == "__main__":
    main()

"""What the benches share: the machine, and a program that runs alone on it. Imports nothing heavy: a child's peak of memory counts what it was forked from."""
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared/data"


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


class Side:
    """A program that measures once for every line that it reads: loading and building are not repeated, and sides still take turns."""

    def __init__(self, arguments, **environment):
        environment = {**os.environ, **environment}
        self.program = subprocess.Popen([str(part) for part in arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def seconds(self):
        """Processor seconds of the program and of those that it has waited for."""
        fields = Path(f"/proc/{self.program.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    def turn(self):
        """The JSON row of one measurement. Repeated, up to three times, while other programs take more than 4 % of the processor."""
        for _ in range(4):
            start, all_before, own_before = time.time(), busy_seconds()[0], self.seconds()
            self.program.stdin.write("again\n")
            self.program.stdin.flush()
            row = self.program.stdout.readline()
            if not row:
                sys.exit(f"{self.program.args} failed")
            others = (busy_seconds()[0] - all_before) - (self.seconds() - own_before)
            others /= (time.time() - start) * os.cpu_count()
            if others < 0.04:
                break
            print(f"note: other programs took {others:.0%} of the processor", file=sys.stderr)
        return json.loads(row)

    def end(self):
        self.program.stdin.close()
        self.program.wait()


def cell(rates):
    middle = statistics.median(rates)
    return f"{middle:.0f} (±{100 * (max(rates) - min(rates)) / 2 / middle:.0f} %)"


BELOW = 3


class Guard:
    """Ratios that must not fall below a bound, and peaks of memory that must not rise above one, each with a wide margin: a regression, not a noisy neighbour."""

    def __init__(self):
        self.found = []

    def check(self, what, ratio, least):
        if ratio < least:
            self.found.append(f"{what}: {ratio:.2f}x is below {least}x")

    def check_peak(self, what, peak, most):
        """Of memory, in MiB."""
        if peak > most:
            self.found.append(f"{what}: {peak:,.0f} MiB are above {most:,} MiB")

    def exit(self):
        """Says what is below, and ends the program with the status BELOW if anything is."""
        if self.found:
            print("\nOutside their guards: " + "; ".join(self.found) + ".", flush=True)
            sys.exit(BELOW)


def cpuinfo():
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def has_bf16():
    """Whether the processor multiplies bf16, as our engine asks; one that does not is many times slower in it than in fp32."""
    return "avx512_bf16" in cpuinfo()


def processor():
    names = [row.split(":")[1].strip() for row in cpuinfo().splitlines() if row.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {'with' if has_bf16() else 'without'} avx512_bf16"


def name():
    """`amd-epyc-2core` of `AMD EPYC 9R14, 2 cores, with avx512_bf16`; `amd-epyc-2core-fp32` without."""
    model, cores = processor().split(", ")[:2]
    words = re.findall(r"[a-z]+", re.sub(r"\(.*?\)", "", model.lower()))
    return "-".join([*words[:2], cores.split()[0] + "core", *([] if has_bf16() else ["fp32"])])

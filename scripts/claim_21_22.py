"""Searches for what claims 21 and 22 of arXiv 2502.06434 state: crops that lower the loss need not lower the entropy, and random crops in training take back
what chosen crops won.

    claim_21_22.py SET... --teacher FILE --work DIR [--crops 1,2,5,20] [--smalti PATH]

Each SET is an image folder with N images of each class (a set of `smalti compress`); N is --ipc. For each of them and each number of crops K the teacher picks the
easiest of K square crops of every image (`smalti distill rded` over that set alone), and observes both as stored and under random crops from several areas on
(`smalti observe`). Prints one JSON row per pair, then what was found.
"""

import argparse
import hashlib
import json
import subprocess
from pathlib import Path

AREAS = [1.0, 0.75, 0.5, 0.35, 0.25, 0.15, 0.08, 0.04]


def call(*words):
    done = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--teacher", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--crops", default="1,2,5,20")
    parser.add_argument("--views", type=int, default=50)
    parser.add_argument("--smalti", default="smalti")
    asked = parser.parse_args()
    # Another teacher or budget chooses other crops.
    teacher = hashlib.sha256(asked.teacher.read_bytes()).hexdigest()[:8]
    ratios = ",".join(str(area) for area in AREAS)
    lower_loss = higher_entropy = lower_entropy = turned = 0
    for folder in asked.sets:
        for count in asked.crops.split(","):
            chosen = asked.work / f"{folder.name}-ipc{asked.ipc}-by-{teacher}-of-{count}"
            if not (chosen / "manifest.json").exists():
                call(asked.smalti, "distill", "rded", folder, "--teacher", asked.teacher, "--ipc", asked.ipc, "--pool", asked.ipc,
                     "--crops", count, "--grid", 1, "--threads", 1, "--out", chosen, "--json", "-q")
            rows = call(asked.smalti, "observe", folder, chosen, "--teacher", asked.teacher, "--crops", ratios, "--views", asked.views,
                        "--threads", 1, "--json", "-q")
            whole, crops = ([row for row in rows if row["set"] == name] for name in (folder.name, chosen.name))
            (plain, *under), (cropped, *cropped_under) = whole, crops
            gap = [other["entropy"] - own["entropy"] for own, other in zip(under, cropped_under)]
            row = {
                "set": folder.name,
                "crops": int(count),
                "loss": [plain["nll"], cropped["nll"]],
                "entropy": [plain["entropy"], cropped["entropy"]],
                "entropy gap under crops from": {str(area): round(g, 4) for area, g in zip(AREAS, gap)},
            }
            print(json.dumps(row), flush=True)
            if cropped["nll"] < plain["nll"]:
                lower_loss += 1
                higher_entropy += cropped["entropy"] >= plain["entropy"]
            if cropped["entropy"] < plain["entropy"]:
                lower_entropy += 1
                turned += any(g >= 0 for g in gap)
    print(f"claim 21: of {lower_loss} pairs whose chosen crops have a lower loss, {higher_entropy} have a higher entropy")
    print(f"claim 22: of {lower_entropy} pairs whose chosen crops have a lower entropy, {turned} lose it under random crops of some area")


if __name__ == "__main__":
    main()

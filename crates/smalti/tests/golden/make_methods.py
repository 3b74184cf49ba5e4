"""Reference numbers of every metric and rule, straight from their definitions: writes methods.json beside this file.

Run with numpy alone: python3 make_methods.py. Nothing here is the program's: each function is the definition of the paper, or of the authors'
code where the list says so, in a few lines of float64 numpy.
"""

import json
from pathlib import Path

import numpy as np

SEEDS, EPOCHS, EVAL_EPOCHS, CLASSES, SAMPLES, WIDTH, KEEP = 2, 7, [5, 6], 3, 120, 2, 6


def softmax(logits):
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def make_run(random, labels):
    """Logits of the train pass by epoch, of the eval pass by eval epoch, and features: samples are learned at their own pace."""
    pace = random.uniform(-0.2, 0.8, SAMPLES)
    onehot = np.eye(CLASSES)[labels]
    train = np.stack([
        random.normal(0, 1, (SAMPLES, CLASSES)) + onehot * (pace * epoch)[:, None] * 2 for epoch in range(EPOCHS)
    ])
    evals = np.stack([train[epoch] + random.normal(0, 0.3, (SAMPLES, CLASSES)) for epoch in EVAL_EPOCHS])
    features = random.normal(0, 1, (SAMPLES, WIDTH)) + random.normal(0, 2, (CLASSES, WIDTH))[labels] + 3
    return [x.astype(np.float32).astype(np.float64) for x in (train, evals, features)]


def metrics(train, evals, features, labels):
    rows = np.arange(SAMPLES)
    onehot = np.eye(CLASSES)[labels]
    others = lambda values: np.where(onehot.astype(bool), -np.inf, values).max(-1)
    p, q = softmax(train), softmax(evals)
    p_true, q_true = p[:, rows, labels], q[:, rows, labels]
    right = train[:, rows, labels] > np.stack([others(epoch) for epoch in train])
    forgotten = (right[:-1] & ~right[1:]).sum(0)
    error = np.linalg.norm(q - onehot, axis=-1)
    windows = np.stack([p_true[start : start + 3].std(0) for start in range(EPOCHS - 2)])
    centre = lambda how: np.stack([how(features[labels == c], axis=0) for c in range(CLASSES)])[labels]
    return {
        "el2n": error.mean(0),
        "el2n-train": np.linalg.norm(p - onehot, axis=-1).mean(0),
        "grand": (error * np.sqrt(1 + (features**2).sum(-1))).mean(0),
        "aum": np.stack([train[e][rows, labels] - others(train[e]) for e in range(EPOCHS)]).mean(0),
        "aum-prob": np.stack([p[e][rows, labels] - others(p[e]) for e in range(EPOCHS)]).mean(0),
        "forgetting": np.where(right.any(0), forgotten, EPOCHS).astype(float),
        "loss": -np.log(q_true).mean(0),
        "entropy": -(q * np.log(q)).sum(-1).mean(0),
        "confidence": p_true.mean(0),
        "variability": p_true.std(0),
        "cad": windows[-5:].mean(0),
        "prototype": np.linalg.norm(features - centre(np.mean), axis=-1),
        "moderate": np.linalg.norm(features - centre(np.median), axis=-1),
    }


def herding(h):
    mean, total, kept = h.mean(0), np.zeros(h.shape[1]), []
    for step in range(KEEP):
        distance = np.linalg.norm((step + 1) * mean - total - h, axis=1)
        distance[kept] = np.inf
        kept.append(int(distance.argmin()))
        total += h[kept[-1]]
    return kept


def k_center(distances, start):
    kept = [start]
    while len(kept) < KEEP:
        nearest = distances[kept].min(0)
        nearest[kept] = -1
        kept.append(int(nearest.argmax()))
    return kept


def facility_location(distances, weights):
    kept = []
    while len(kept) < KEEP:
        cost = lambda more: (weights * distances[kept + [more]].min(0)).sum()
        costs = np.array([np.inf if j in kept else cost(j) for j in range(len(distances))])
        # Two samples that are only near each other gain the same; such a draw is broken by content, which numpy does not know.
        best, second = np.sort(costs)[:2]
        assert second - best > 1e-6, "choose other numbers: two samples are equally good"
        kept.append(int(costs.argmin()))
    return kept


def ccs(scores, beta, keep):
    """Survivors, and how many each of the 50 strata gives; the top of the range as this program closes it."""
    order = np.argsort(scores, kind="stable")
    survivors = order[int(beta * len(scores)) :]
    s = scores[survivors]
    low, width = s.min(), (s.max() - s.min()) * 1.0001 / 50
    strata = [survivors[(low + k * width <= s) & (s < low + (k + 1) * width)] for k in range(50)]
    take, left = [0] * 50, keep
    for visited, k in enumerate(sorted(range(50), key=lambda k: len(strata[k]))):
        take[k] = min(len(strata[k]), left // (50 - visited))
        left -= take[k]
    return [{"of": sorted(map(int, stratum)), "take": n} for stratum, n in zip(strata, take) if len(stratum)]


def rules(found, features, labels):
    """By class, with positions among the samples of the class turned into rows."""
    out = {name: [] for name in ["herding", "k-center", "facility-location", "facility-location-easy:0.5", "facility-location-weighted",
                                 "moderate", "window:0.2", "easy-first", "hard-first", "ccs:0.3"]}
    h = np.concatenate(features, axis=1)
    for c in range(CLASSES):
        rows = np.flatnonzero(labels == c)
        of = lambda kept: [int(rows[k]) for k in kept]
        x = h[rows]
        d = np.linalg.norm(x[:, None] - x[None], axis=-1)
        score = found["el2n"][rows].astype(np.float32)
        order = np.argsort(score, kind="stable")
        out["herding"].append(of(herding(x)))
        out["k-center"].append([of(k_center(d, start)) for start in range(len(rows))])
        out["facility-location"].append(of(facility_location(d, np.ones(len(rows)))))
        easy = np.sort(order[: int(np.ceil(0.5 * len(rows)))])
        out["facility-location-easy:0.5"].append(of(easy[facility_location(d[np.ix_(easy, easy)], np.ones(len(easy)))]))
        weights = np.empty(len(rows))
        weights[order] = 1 - np.arange(len(rows)) / len(rows)
        out["facility-location-weighted"].append(of(facility_location(d, weights)))
        middle = round(len(rows) / 2 - KEEP / 2 - 1e-9)
        out["moderate"].append(sorted(of(order[middle : middle + KEEP])))
        out["window:0.2"].append(of(order[int(0.2 * len(rows)) :][:KEEP]))
        out["easy-first"].append(of(order[:KEEP]))
        out["hard-first"].append(of(np.argsort(-score, kind="stable")[:KEEP]))
        aum = found["aum-prob"][rows].astype(np.float32).astype(np.float64)
        out["ccs:0.3"].append([{"of": of(stratum["of"]), "take": stratum["take"]} for stratum in ccs(aum, 0.3, KEEP)])
    return out


def main():
    random = np.random.default_rng(2)
    labels = random.permutation(np.arange(SAMPLES) % CLASSES)
    runs = [make_run(random, labels) for _ in range(SEEDS)]
    of_seed = [metrics(*run, labels) for run in runs]
    found = {name: np.mean([m[name] for m in of_seed], axis=0) for name in of_seed[0]}
    numbers = lambda array: np.round(array, 7).tolist()
    golden = {
        "labels": labels.tolist(),
        "keep": KEEP,
        "eval_epochs": EVAL_EPOCHS,
        "runs": [dict(zip(("train", "eval", "features"), map(numbers, run))) for run in runs],
        "metrics": {name: numbers(values) for name, values in found.items()},
        "rules": rules(found, [run[2] for run in runs], labels),
    }
    text = json.dumps(golden, separators=(",", ":"))
    Path(__file__).with_name("methods.json").write_text(text + "\n")


if __name__ == "__main__":
    main()

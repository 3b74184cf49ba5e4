"""Writes crates/smalti-learn/tests/golden/optimisers.json and muon.json: twenty steps of torch.optim.AdamW, SGD and Muon on given gradients.

    .venv/bin/python scripts/reference_optimisers.py

The parameters are those of convnet-1/1-bn for 2 classes of 2 px, so that the test drives the optimiser through a real network and
its decay groups: AdamW decays weights of more than one dimension and nothing else, SGD everything. Muon has a network of two convolutions, the second of
which it updates as a matrix; AdamW has the rest, as Muon's author says. torch.optim.Muon rounds to bf16 inside, which is left out here.
"""
import json
import math
from pathlib import Path

import torch

SHAPES = {
    "features.0.weight": [1, 3, 3, 3],
    "features.0.bias": [1],
    "features.1.weight": [1],
    "features.1.bias": [1],
    "classifier.weight": [2, 1],
    "classifier.bias": [2],
}
STEPS = 20
# Of convnet-2/3-bn for 2 classes of 4 px.
TWO = {
    "features.0.weight": [3, 3, 3, 3],
    "features.0.bias": [3],
    "features.1.weight": [3],
    "features.1.bias": [3],
    "features.4.weight": [3, 3, 3, 3],
    "features.4.bias": [3],
    "features.5.weight": [3],
    "features.5.bias": [3],
    "classifier.weight": [2, 3],
    "classifier.bias": [2],
}


def numbers(tensors):
    """Nine significant digits name every float32 exactly."""
    return [float(f"{x:.9g}") for tensor in tensors for x in tensor.detach().flatten().tolist()]


def adamw(params):
    decayed = [p for name, p in params.items() if "weight" in name and p.dim() > 1]
    rest = [p for name, p in params.items() if not ("weight" in name and p.dim() > 1)]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.1)


def sgd(params):
    return torch.optim.SGD(params.values(), lr=1e-1, momentum=0.9, weight_decay=1e-2)


class Muon:
    """torch.optim.Muon for the convolutions after the first as matrices, AdamW for the rest."""

    def __init__(self, params):
        self.convolutions = [value for value in params.values() if value.dim() == 4][1:]
        moved = {id(value) for value in self.convolutions}
        self.matrices = [torch.nn.Parameter(value.detach().flatten(1)) for value in self.convolutions]
        muon = torch.optim.Muon(
            self.matrices, lr=0.1, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
        )
        rest = {name: value for name, value in params.items() if id(value) not in moved}
        self.both = [muon, adamw(rest)]
        self.param_groups = [group for one in self.both for group in one.param_groups]

    def step(self):
        for matrix, value in zip(self.matrices, self.convolutions):
            matrix.grad = value.grad.flatten(1)
        whole = torch.Tensor.bfloat16
        torch.Tensor.bfloat16 = torch.Tensor.clone
        for one in self.both:
            one.step()
        torch.Tensor.bfloat16 = whole
        with torch.no_grad():
            for matrix, value in zip(self.matrices, self.convolutions):
                value.copy_(matrix.view_as(value))


def follow(build, initial, gradients):
    params = {name: value.clone().requires_grad_() for name, value in initial.items()}
    optimiser = build(params)
    peaks = [group["lr"] for group in optimiser.param_groups]
    after = []
    for step, row in enumerate(gradients):
        for param, gradient in zip(params.values(), row):
            param.grad = gradient.clone()
        for group, peak in zip(optimiser.param_groups, peaks):
            group["lr"] = peak * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        optimiser.step()
        after.append(numbers(params.values()))
    return after


def main():
    torch.manual_seed(0)
    initial = {name: torch.randn(shape) for name, shape in SHAPES.items()}
    # Sizes from 1e-4 to 10, and zeros: where epsilon, bias correction and decay each show.
    gradients = [[torch.randn(s) * 10 ** torch.empty(s).uniform_(-4, 1) for s in SHAPES.values()] for _ in range(STEPS)]
    for row in gradients:
        row[0].view(-1)[:2] = 0
    golden = {
        "made_by": "scripts/reference_optimisers.py",
        "torch": torch.__version__.split("+")[0],
        "names": list(SHAPES),
        "initial": numbers(initial.values()),
        "gradients": [numbers(row) for row in gradients],
        "adamw": {"learning_rate": 0.1, "weight_decay": 0.1, "after": follow(adamw, initial, gradients)},
        "sgd": {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01, "after": follow(sgd, initial, gradients)},
    }
    write("optimisers", golden)
    initial = {name: torch.randn(shape) for name, shape in TWO.items()}
    gradients = [[torch.randn(s) * 10 ** torch.empty(s).uniform_(-2, 1) for s in TWO.values()] for _ in range(STEPS)]
    write("muon", {
        "made_by": "scripts/reference_optimisers.py",
        "torch": torch.__version__.split("+")[0],
        "names": list(TWO),
        "initial": numbers(initial.values()),
        "gradients": [numbers(row) for row in gradients],
        "muon": {"learning_rate": 0.1, "momentum": 0.95, "weight_decay": 0.1, "after": follow(Muon, initial, gradients)},
    })


def write(name, golden):
    lines = json.dumps(golden).replace("], [", "],\n[").replace('", "', '",\n"')
    path = Path(__file__).parent.parent / f"crates/smalti-learn/tests/golden/{name}.json"
    path.write_text(lines + "\n")


if __name__ == "__main__":
    main()

"""Golden values for crates/smalti-learn/src/distort: the formulas of DSA and of the jitter of the Minimax evaluation, written with PyTorch.

    reference_distortions.py > crates/smalti-learn/tests/golden/distortions.json

The image has three channels of 5 x 5 pixels, value sin(1.3 i) at place i. Affine maps are sampled as F.affine_grid and F.grid_sample do by
default; jitter is torch.lerp towards black, the grey mean and grey.
"""

import json
import math

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
IMAGE = torch.sin(1.3 * torch.arange(75, dtype=torch.float64)).reshape(1, 3, 5, 5)


def affine(rows):
    theta = torch.tensor([[[rows[0], rows[1], 0.0], [rows[2], rows[3], 0.0]]], dtype=torch.float64)
    return F.grid_sample(IMAGE, F.affine_grid(theta, IMAGE.shape, align_corners=False), align_corners=False)


def colour(brightness, saturation, contrast):
    x = IMAGE + (brightness - 0.5)
    mean = x.mean(dim=1, keepdim=True)
    x = (x - mean) * (saturation * 2) + mean
    mean = x.mean(dim=[1, 2, 3], keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


def grey(x):
    return (x * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).reshape(1, 3, 1, 1)).sum(1, keepdim=True).expand_as(x)


def jitter(order, amounts):
    x = (IMAGE + 1) / 2
    for which in order:
        other = [torch.zeros_like(x), grey(x).mean() * torch.ones_like(x), grey(x)][which]
        x = torch.lerp(x, other, amounts[which])
    return x


angle = (0.9 - 0.5) * 2 * 15 / 180 * math.pi
factor = lambda u: u * (1.2 - 1 / 1.2) + 1 / 1.2
cases = {
    "scale": affine([factor(0.8), 0.0, 0.0, factor(0.1)]),
    "rotate": affine([math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)]),
    "colour": colour(0.9, 0.2, 0.7),
    "jitter 0 2 1": jitter([0, 2, 1], [0.3, -0.2, 0.35]),
    "jitter 2 1 0": jitter([2, 1, 0], [-0.1, 0.4, -0.3]),
}
print(json.dumps({name: [round(v, 9) for v in value.flatten().tolist()] for name, value in cases.items()}, indent=0))

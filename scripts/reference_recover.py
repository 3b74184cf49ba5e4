"""The recover loop of SRe2L and DWA in plain PyTorch, for crates/smalti-learn/tests/recover.rs.

    reference_recover.py DIR

A torchvision ResNet-18 with random weights and statistics of its own, a batch of images, and the pixels after a few steps in fp64: cross-entropy plus the
distance of batch statistics (forward hooks on every BatchNorm2d), torch.optim.Adam with betas (0.5, 0.9), half a cosine, a clamp to black and white.
Neither crop, flip nor roll: those draws are our own. DWA first takes a few steps up the cross-entropy with all weights. Written from the formulas of the
papers (arXiv 2306.13092, 2409.17612).
"""
import math
import sys
from pathlib import Path

import torch
import torchvision
from torch import nn

from reference_networks import save

torch.set_num_threads(1)
LABELS = torch.tensor([3, 0, 7, 7])
MEAN, STD = (torch.tensor(x).reshape(1, 3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
# Also in the test.
STEPS, RATE, WEIGHT, FIRST = 3, 0.01, 1.0, 10.0
ASCENT, RADIUS, VARIANCE = 3, 0.015, 11.0


def teacher():
    torch.manual_seed(7)
    net = torchvision.models.resnet18(num_classes=10)
    for _ in range(10):
        net(torch.randn(16, 3, 64, 64))
    return net.eval()


def listen(net):
    """The input of every batch norm of the latest pass, in the order of definition."""
    heard, norms = {}, [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.register_forward_hook(lambda module, inputs, _: heard.__setitem__(module, inputs[0]))
    return norms, heard


def moved(kind, start, variance, ascent):
    net, start = teacher().to(kind), start.to(kind)
    norms, heard = listen(net)
    if ascent:
        for _ in range(ascent):
            loss = nn.functional.cross_entropy(net(start), LABELS)
            slopes = torch.autograd.grad(loss, list(net.parameters()))
            length = math.sqrt(sum(float(slope.double().square().sum()) for slope in slopes))
            with torch.no_grad():
                for weight, slope in zip(net.parameters(), slopes):
                    weight += RADIUS / ascent / length * slope
    pixels = start.clone().requires_grad_(True)
    adam = torch.optim.Adam([pixels], lr=RATE, betas=(0.5, 0.9), eps=1e-8)
    for step in range(STEPS):
        adam.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        loss = nn.functional.cross_entropy(net(pixels), LABELS)
        for number, norm in enumerate(norms):
            x = heard[norm]
            mean, spread = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            distance = variance * (spread - norm.running_var).norm() + (mean - norm.running_mean).norm()
            loss = loss + WEIGHT * (FIRST if number == 0 else 1.0) * distance
        pixels.grad, = torch.autograd.grad(loss, [pixels])
        adam.step()
        with torch.no_grad():
            mean, std = MEAN.to(kind), STD.to(kind)
            pixels.copy_(torch.maximum(torch.minimum(pixels, (1 - mean) / std), -mean / std))
    return pixels.detach()


def main():
    folder = Path(sys.argv[1])
    start = torch.randn(len(LABELS), 3, 64, 64, generator=torch.Generator().manual_seed(3))
    save(folder / "weights.safetensors", teacher().state_dict())
    expected = {"start": start}
    for name, variance, ascent in [("sre2l", 1.0, 0), ("dwa", VARIANCE, ASCENT)]:
        expected[name] = moved(torch.float64, start, variance, ascent)
    save(folder / "expected.safetensors", expected)


if __name__ == "__main__":
    main()

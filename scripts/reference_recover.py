"""The recover loops of SRe2L, DWA and G-VBSM in plain PyTorch, for crates/smalti-learn/tests/recover.rs.

    reference_recover.py DIR

A torchvision ResNet-18 with random weights and statistics of its own, a batch of images, and the pixels after a few steps in fp64: cross-entropy plus the
distance of batch statistics (forward hooks on every BatchNorm2d), torch.optim.Adam with betas (0.5, 0.9), half a cosine, a clamp to black and white.
Neither crop, flip nor roll: those draws are our own. DWA first takes a few steps up the cross-entropy with all weights. Written from the formulas of the
papers (arXiv 2306.13092, 2409.17612, 2311.17950). G-VBSM asks a ResNet-18 and a MobileNetV2 in turn; convolutions expect what they see of a few photographs
of noise in one pass.
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
# A tenth of DWA's published radius: by 0.015 the weights come into regions where fp32 turns ReLUs, and PyTorch's own fp32 pixels are 4 % of the way from its fp64.
ASCENT, RADIUS, VARIANCE = 3, 0.0015, 11.0
TURNS, CELL, MEMORY, TEMPERATURE = 4, 4, 0.4, 4.0


def teacher(network=torchvision.models.resnet18):
    torch.manual_seed(7)
    net = network(num_classes=10)
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


def moments(x):
    """Mean and variance of each channel, then of each cell."""
    height, width = (-(-side // CELL) * CELL for side in x.shape[2:])
    whole = nn.functional.interpolate(x, (height, width), mode="bilinear")
    cells = whole.unfold(2, CELL, CELL).unfold(3, CELL, CELL).permute(2, 3, 0, 1, 4, 5).reshape(height * width // CELL**2, -1)
    return x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False), cells.mean(1), cells.var(1, unbiased=False)


def density(pixels):
    flat, total = nn.functional.adaptive_avg_pool2d(pixels, 32).flatten(1), 0.0
    for label in LABELS.unique():
        own = flat[LABELS == label]
        values = torch.linalg.eigvalsh(own @ own.T)
        total = total + nn.functional.kl_div(
            values.log_softmax(0), (values.detach() / TEMPERATURE).softmax(0), reduction="sum"
        )
    return total


def generalised(kind, start, photos):
    """G-VBSM: the networks in turn, each with averages of its own that start at 0."""
    sides = []
    for network in (torchvision.models.resnet18, torchvision.models.mobilenet_v2):
        net, heard = teacher(network).to(kind), {}
        layers = [module for module in net.modules() if isinstance(module, (nn.BatchNorm2d, nn.Conv2d))]
        for layer in layers:
            layer.register_forward_hook(lambda module, inputs, _, heard=heard: heard.__setitem__(module, inputs[0].clone()))
        with torch.no_grad():
            net(photos.to(kind))
            expected = {
                layer: moments(heard[layer])
                if isinstance(layer, nn.Conv2d)
                else (layer.running_mean, layer.running_var)
                for layer in layers
            }
        sides.append((net, heard, layers, expected, {}))
    pixels = start.to(kind).clone().requires_grad_(True)
    adam = torch.optim.Adam([pixels], lr=RATE, betas=(0.5, 0.9), eps=1e-8)
    for step in range(TURNS):
        adam.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / TURNS))
        net, heard, layers, expected, averages = sides[step % len(sides)]
        loss = nn.functional.cross_entropy(net(pixels), LABELS) + density(pixels)
        for number, layer in enumerate(layers):
            found = moments(heard[layer])[: len(expected[layer])]
            before = averages.get(layer, [0.0] * len(found))
            averages[layer] = [MEMORY * old + (1 - MEMORY) * new.detach() for old, new in zip(before, found)]
            distance = sum(
                (average + new - new.detach() - goal).norm()
                for average, new, goal in zip(averages[layer], found, expected[layer])
            )
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
    save(folder / "mobilenet.safetensors", teacher(torchvision.models.mobilenet_v2).state_dict())
    expected = {"start": start}
    for name, variance, ascent in [("sre2l", 1.0, 0), ("dwa", VARIANCE, ASCENT)]:
        expected[name] = moved(torch.float64, start, variance, ascent)
    photos = torch.randint(0, 256, (6, 3, 64, 64), generator=torch.Generator().manual_seed(4))
    expected["photos"] = photos.permute(0, 2, 3, 1).contiguous().float()
    expected["gvbsm"] = generalised(torch.float64, start, (photos / 255 - MEAN) / STD)
    save(folder / "expected.safetensors", expected)


if __name__ == "__main__":
    main()

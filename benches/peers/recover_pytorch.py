"""Images per second of SRe2L's recover loop in PyTorch: the other side of crates/smalti-learn/examples/recover.rs.

    recover_pytorch.py NETWORK SIZE BATCH STEPS {default,tuned}

default: as the published code runs it. fp32, NCHW, forward hooks on every BatchNorm2d, torch.optim.Adam on the pixels.
tuned:   bf16 autocast where the processor has bf16, and channels_last. The statistics are fp32 in both.
"""
import json
import sys
import time

import torch
from torch import nn
from torchvision import transforms

from train_pytorch import MEAN, STD, network, precision_of

WARM_UP = 2
CLASSES = 10


def main():
    name, size, batch, steps, variant = sys.argv[1:]
    size, batch, steps = int(size), int(batch), int(steps)
    tuned = variant == "tuned"
    torch.manual_seed(1)
    net = network(name, size, CLASSES).eval().requires_grad_(False)
    heard = []
    for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.register_forward_hook(lambda module, inputs, _: heard.append((module, inputs[0])))
    pixels = torch.randn(batch, 3, size, size)
    if tuned:
        net = net.to(memory_format=torch.channels_last)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    pixels.requires_grad_(True)
    labels = torch.arange(batch) % CLASSES
    mean, std = (torch.tensor(x).reshape(1, 3, 1, 1) for x in (MEAN, STD))
    adam = torch.optim.Adam([pixels], lr=0.25, betas=(0.5, 0.9))
    precision = precision_of(tuned)
    crop = transforms.Compose([transforms.RandomResizedCrop(size, antialias=True), transforms.RandomHorizontalFlip()])
    for number in range(WARM_UP + steps):
        if number == WARM_UP:
            start = time.perf_counter()
        heard.clear()
        view = torch.roll(crop(pixels), [int(torch.randint(0, 33, ())) for _ in range(2)], [2, 3])
        with precision:
            loss = nn.functional.cross_entropy(net(view), labels)
        for at, (module, x) in enumerate(heard):
            spread, middle = torch.var_mean(x.float(), (0, 2, 3), unbiased=False)
            term = (spread - module.running_var).norm() + (middle - module.running_mean).norm()
            loss = loss + 0.01 * (10.0 if at == 0 else 1.0) * term
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            pixels.copy_(torch.maximum(torch.minimum(pixels, (1 - mean) / std), -mean / std))
        loss.item()
    seconds = time.perf_counter() - start
    print(json.dumps({"images_per_second": steps * batch / seconds, "seconds": seconds, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()

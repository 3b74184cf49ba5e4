"""Images per second of the same student in PyTorch, loader included: the other side of crates/smalti-learn/examples/speed.rs.

    train_pytorch.py FOLDER NETWORK SIZE BATCH STEPS {default,tuned,compiled} WEIGHTS

Measures once for every line of standard input, and prints a JSON row each time.

WEIGHTS are those that our side began with: the row says their loss on the first images of the folder, which must be ours.

default: as the reference code of the field runs it. fp32, NCHW, ImageFolder and DataLoader with workers that decode and crop PIL images.
tuned:   what PyTorch gives without writing kernels. bf16 autocast where the processor has bf16, channels_last, fused AdamW, decoded images held in memory.
compiled: the same through torch.compile.

In favour of PyTorch: the workers start, the tuned form decodes, and the compiler compiles, before the clock does.
"""
import contextlib
import json
import os
import sys
import time
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.transforms import functional as F

THREADS = torch.get_num_threads()
sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "scripts"), str(Path(__file__).resolve().parents[1])]
from machine import has_bf16  # noqa: E402
from reference_networks import convnet, load, small_stem  # noqa: E402

# That script keeps to one thread, beside other tests; here PyTorch has what it takes by itself.
torch.set_num_threads(THREADS)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WARM_UP = 2
EVALUATED = 250
# Passes are repeated for at least that long: one takes a small network a fifth of a second.
EVALUATION_SECONDS = 1.0
WORKERS = os.cpu_count()


def precision_of(tuned):
    """Autocast as somebody who tunes would set it here: bf16 that is only emulated is many times slower than fp32."""
    return torch.autocast("cpu", torch.bfloat16) if tuned and has_bf16() else contextlib.nullcontext()


def network(name, size, classes):
    if name in ("resnet18", "resnet18-small"):
        net = torchvision.models.resnet18(num_classes=classes)
        return small_stem(net) if name == "resnet18-small" else net
    if name == "mobilenet_v2":
        return torchvision.models.mobilenet_v2(num_classes=classes)
    depth, width = (int(x) for x in name.removeprefix("convnet-").split("/"))
    return convnet(depth, width, size, "bn")


def first_loss(net, folder, weights, batch):
    """Mean cross-entropy of our first weights on the first images as they are, under running statistics."""
    missing, unknown = net.load_state_dict(load(Path(weights)), strict=False)
    assert not unknown and all("num_batches_tracked" in name for name in missing), (missing, unknown)
    data = torchvision.datasets.ImageFolder(folder, transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)]))
    images, labels = zip(*[data[i] for i in range(min(batch, len(data)))])
    with torch.no_grad():
        return nn.functional.cross_entropy(net.eval()(torch.stack(images)), torch.tensor(labels)).item()


def shuffled_epochs(images, count):
    """Image numbers of endless shuffled epochs, cut to `count`: the workers are not started anew for each."""
    order = []
    while len(order) < count:
        order += torch.randperm(images).tolist()
    return order[:count]


def default_batches(folder, size, batch, steps):
    transform = transforms.Compose([
        transforms.RandomResizedCrop(size),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])
    data = torchvision.datasets.ImageFolder(folder, transform)
    yield from DataLoader(data, batch, sampler=shuffled_epochs(len(data), steps * batch), num_workers=WORKERS)


def held(folder):
    """All images and labels, in memory."""
    data = torchvision.datasets.ImageFolder(folder, F.pil_to_tensor)
    images, labels = zip(*[data[i] for i in range(len(data))])
    return images, torch.tensor(labels)


def normal(images):
    """A batch of stored images for the tuned form."""
    mean, std = (torch.tensor(x).mul(255).reshape(1, 3, 1, 1) for x in (MEAN, STD))
    return torch.stack(images).float().sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)


def tuned_batches(images, labels, size, batch, steps):
    order = shuffled_epochs(len(images), steps * batch)

    def crop(image):
        box = transforms.RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3])
        image = F.resized_crop(image, *box, [size, size], antialias=True)
        return F.hflip(image) if torch.rand(()) < 0.5 else image

    for at in range(0, len(order), batch):
        part = order[at : at + batch]
        yield normal([crop(images[i]) for i in part]), labels[part]


def train(net, optimiser, precision, batches):
    """Seconds of all steps but the first WARM_UP."""
    loss_of = nn.CrossEntropyLoss()
    net.train()
    for number, (images, labels) in enumerate(batches):
        if number == WARM_UP:
            start = time.perf_counter()
        with precision:
            loss = loss_of(net(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()
    return time.perf_counter() - start


def whole(folder, memory):
    """All images as they are, in batches: decoded by workers, which start at once, or from memory."""
    if memory:
        stored, known = memory
        return ((normal(stored[at : at + EVALUATED]), known[at : at + EVALUATED]) for at in range(0, len(stored), EVALUATED))
    data = torchvision.datasets.ImageFolder(folder, transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)]))
    return iter(DataLoader(data, EVALUATED, num_workers=WORKERS))


def evaluate(net, precision, folder, memory):
    """Images per second of top-1 on all images; the clock runs while batches come, not while workers start."""
    net.eval()
    seconds = right = count = 0
    with torch.no_grad(), precision:
        while seconds < EVALUATION_SECONDS:
            batches = whole(folder, memory)
            start = time.perf_counter()
            for images, labels in batches:
                right += int((net(images).argmax(1) == labels).sum())
                count += len(labels)
            seconds += time.perf_counter() - start
    return count / seconds


def main():
    folder, name, size, batch, steps, variant, weights = sys.argv[1:]
    size, batch, steps = int(size), int(batch), int(steps)
    tuned = variant != "default"
    torch.manual_seed(1)
    net = network(name, size, len(os.listdir(folder)))
    loss_before = first_loss(net, folder, weights, batch)
    if tuned:
        net = net.to(memory_format=torch.channels_last)
    precision = precision_of(tuned)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01, fused=tuned)
    memory = held(folder) if tuned else None
    trained = torch.compile(net) if variant == "compiled" else net
    for _ in sys.stdin:
        work = (size, batch, steps + WARM_UP)
        seconds = train(trained, optimiser, precision, tuned_batches(*memory, *work) if tuned else default_batches(folder, *work))
        row = {"images_per_second": steps * batch / seconds, "eval_images_per_second": evaluate(net, precision, folder, memory),
               "threads": torch.get_num_threads(), "first_loss": loss_before}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

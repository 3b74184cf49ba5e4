"""Convolutions of images smaller than the kernel: oneDNN's own against one product of matrices, which `Conv` takes instead (crates/smalti-learn/src/nets/layers.rs).

    .venv/bin/python benches/small_images.py THREADS {bfloat16,float32}

Medians of eleven runs in milliseconds: forwards and back, forwards alone, and back to the pixels only. The libraries' environment variables narrow what they may use of the
processor: ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 leaves out AMX, ONEDNN_MAX_CPU_ISA=AVX2 with MKL_ENABLE_INSTRUCTIONS=AVX2 leaves out AVX-512.
"""
import statistics
import sys
import time

import torch
from torch.nn import functional as F

# Images, channels and side, under 3 x 3 kernels.
SHAPES = [(10, 512, 2), (50, 512, 2), (128, 512, 2), (50, 512, 1), (128, 512, 1), (50, 256, 2), (128, 256, 2), (50, 128, 2), (50, 64, 2)]


def convolution(x, weight):
    return F.conv2d(x, weight, padding=1)


def product(x, weight):
    images, channels, side, _ = x.shape
    places = [(row, column) for row in range(side) for column in range(side)]
    meeting = torch.tensor([(1 - i + k) * 3 + 1 - j + l for i, j in places for k, l in places])
    matrix = weight.permute(0, 2, 3, 1).reshape(-1, 9, channels).index_select(1, meeting)
    y = x.permute(0, 2, 3, 1).reshape(images, -1) @ matrix.reshape(-1, side * side * channels).t()
    return y.reshape(images, -1, side, side).contiguous(memory_format=torch.channels_last)


def milliseconds(work):
    times = []
    for turn in range(13):
        start = time.perf_counter()
        work()
        if turn >= 2:
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def measure(form, x, weight, upstream):
    def forwards():
        with torch.no_grad():
            form(x, weight)

    return [
        milliseconds(lambda: torch.autograd.grad(form(x, weight), (x, weight), upstream)),
        milliseconds(forwards),
        milliseconds(lambda: torch.autograd.grad(form(x, weight.detach()), x, upstream)),
    ]


def main():
    threads, kind = sys.argv[1:]
    torch.set_num_threads(int(threads))
    kind = getattr(torch, kind)
    print("| images, channels, side | convolution: all, forwards, to pixels | product: all, forwards, to pixels |\n|---|---|---|")
    for shape in SHAPES:
        images, channels, side = shape
        fresh = lambda *size: torch.randn(*size).to(kind).to(memory_format=torch.channels_last)  # noqa: E731
        x, upstream = fresh(images, channels, side, side).requires_grad_(), fresh(images, channels, side, side)
        weight = (fresh(channels, channels, 3, 3) * 0.02).requires_grad_()
        ours, theirs = product(x.float(), weight.float()), convolution(x.float(), weight.float())
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3), "the two forms differ"
        row = [", ".join(f"{ms:.2f}" for ms in measure(form, x, weight, upstream)) for form in (convolution, product)]
        print(f"| {shape} | {row[0]} | {row[1]} |")


if __name__ == "__main__":
    main()

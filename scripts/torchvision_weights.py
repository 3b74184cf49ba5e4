"""torchvision's weights, or any .pth of a state dict, as safetensors for --teacher.

    torchvision_weights.py NAME OUT.safetensors                 resnet18, resnet34, resnet50, resnet101, mobilenet_v2, efficientnet_b0, swin_t
    torchvision_weights.py NAME OUT.safetensors --pth FILE      a checkpoint of your own: a state dict, or a dict that holds one
    torchvision_weights.py NAME OUT.safetensors --random CLASSES    random weights, for tests of bytes and time

The class names of a teacher are given beside it with --teacher-classes: one a line, in the order of its logits. For ImageNet-1K those are the
sorted names of the folders (n01440764 first).
"""

import argparse
import json
import struct
from pathlib import Path

import torch
import torchvision


def write(path, tensors):
    """safetensors by hand: eight bytes of header length, JSON, raw little-endian data."""
    header, blobs, at = {}, [], 0
    for name, tensor in tensors.items():
        if name.endswith("num_batches_tracked"):
            continue
        tensor = tensor.detach().cpu().contiguous()
        kind = "I64" if tensor.dtype == torch.int64 else "F32"
        raw = (tensor if kind == "I64" else tensor.float()).numpy().tobytes()
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def state_of(file):
    found = torch.load(file, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model", "net"):
        if isinstance(found, dict) and key in found and isinstance(found[key], dict):
            found = found[key]
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("out", type=Path)
    parser.add_argument("--pth", type=Path)
    parser.add_argument("--random", type=int)
    asked = parser.parse_args()
    if asked.pth:
        tensors = state_of(asked.pth)
    elif asked.random:
        torch.manual_seed(0)
        tensors = torchvision.models.get_model(asked.name, num_classes=asked.random).state_dict()
    else:
        tensors = torchvision.models.get_model(asked.name, weights="IMAGENET1K_V1").state_dict()
    write(asked.out, tensors)
    print(f"{asked.out}: {len(tensors)} tensors of {asked.name}")


if __name__ == "__main__":
    main()

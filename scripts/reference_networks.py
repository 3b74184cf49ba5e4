"""Networks as PyTorch defines them, for crates/smalti-learn/tests/pytorch.rs.

    reference_networks.py export DIR   weights, images, and what PyTorch computes from them, one safetensors file per network
    reference_networks.py check DIR    loads the checkpoints that the test wrote and prints how far logits are from the test's own

The residual networks are torchvision's own; the ConvNets are written out here. safetensors is written by hand (eight bytes of
header length, JSON, raw little-endian data), so that no further package is needed.
"""
import json
import struct
import sys
from pathlib import Path

import torch
import torchvision
from torch import nn

CLASSES = 10
# Tests share the machine; two threads that wait for each other's turn take longer than one.
torch.set_num_threads(1)


def convnet(depth, width, size, norm):
    """DEPTH x [3x3 convolution, norm, ReLU, 2x2 average pooling], then a linear layer."""
    layers, inputs = [], 3
    for _ in range(depth):
        norm_layer = nn.BatchNorm2d(width) if norm == "bn" else nn.GroupNorm(width, width, affine=True)
        layers += [nn.Conv2d(inputs, width, 3, padding=1), norm_layer, nn.ReLU(), nn.AvgPool2d(2)]
        inputs = width
    net = nn.Module()
    net.features = nn.Sequential(*layers)
    net.classifier = nn.Linear(width * (size >> depth) ** 2, CLASSES)
    net.forward = lambda x: net.classifier(net.features(x).flatten(1))
    return net


def small_stem(net):
    net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    net.maxpool = nn.Identity()
    return net


class PooledBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, norm):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), norm(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), norm(outputs)
        self.pool = nn.AvgPool2d(stride)
        if stride != 1 or inputs != outputs:
            shortcut = [nn.Conv2d(inputs, outputs, 1, bias=False), nn.AvgPool2d(stride), norm(outputs)]
            self.downsample = nn.Sequential(*shortcut)
        else:
            self.downsample = nn.Identity()

    def forward(self, x):
        y = self.pool(torch.relu(self.bn1(self.conv1(x))))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class PooledResNet(nn.Module):
    """IDC's ResNet-AP: average pooling instead of strides, a stem by the size of the images."""

    def __init__(self, depth, size, norm):
        super().__init__()
        make = nn.BatchNorm2d if norm == "bn" else (lambda width: nn.GroupNorm(width, width))
        kernel, pool = (3, 1) if size <= 64 else (3, 2) if size <= 128 else (7, 4)
        self.layer0 = nn.Module()
        self.layer0.conv1 = nn.Conv2d(3, 64, kernel, padding=kernel // 2, bias=False)
        self.layer0.bn1 = make(64)
        self.pool = nn.AvgPool2d(pool)
        inputs = 64
        for stage in range(4):
            width = 64 << stage
            blocks = []
            for index in range(depth):
                blocks.append(PooledBlock(inputs, width, 2 if index == 0 and stage > 0 else 1, make))
                inputs = width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x):
        x = self.pool(torch.relu(self.layer0.bn1(self.layer0.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class Airbench(nn.Module):
    """The layers of arXiv 2404.00498's network as smalti has them: norms with a scale, the last pooling over all that is left."""

    def __init__(self, width):
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        inputs, self.blocks = 24, nn.ModuleList()
        for outputs in (width, 4 * width, 4 * width):
            block = nn.Module()
            block.conv1, block.norm1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
            block.conv2, block.norm2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)
            self.blocks.append(block)
            inputs = outputs
        self.head = nn.Linear(inputs, CLASSES, bias=False)

    def forward(self, x):
        gelu = nn.functional.gelu
        x = gelu(self.whiten(x))
        for block in self.blocks:
            x = gelu(block.norm1(nn.functional.max_pool2d(block.conv1(x), 2)))
            x = gelu(block.norm2(block.conv2(x)))
        return self.head(x.amax((2, 3))) / 9


NETWORKS = {
    "resnet18": (64, lambda: torchvision.models.resnet18(num_classes=CLASSES)),
    "resnet50": (64, lambda: torchvision.models.resnet50(num_classes=CLASSES)),
    "resnet18-small": (32, lambda: small_stem(torchvision.models.resnet18(num_classes=CLASSES))),
    "convnet-3": (32, lambda: convnet(3, 128, 32, "bn")),
    "convnet-3-in": (32, lambda: convnet(3, 128, 32, "in")),
    "convnet-4/64": (48, lambda: convnet(4, 64, 48, "bn")),
    "resnet34": (64, lambda: torchvision.models.resnet34(num_classes=CLASSES)),
    "resnet101": (64, lambda: torchvision.models.resnet101(num_classes=CLASSES)),
    "mobilenet_v2": (64, lambda: torchvision.models.mobilenet_v2(num_classes=CLASSES)),
    "efficientnet_b0": (64, lambda: torchvision.models.efficientnet_b0(num_classes=CLASSES)),
    # 96 px: windows of 7 patches do not divide 24, so that they are padded, and shifted windows are masked.
    "swin_t": (96, lambda: torchvision.models.swin_t(num_classes=CLASSES)),
    "resnet10-ap": (64, lambda: PooledResNet(1, 64, "in")),
    "resnet18-ap-bn": (96, lambda: PooledResNet(2, 96, "bn")),
    "airbench": (32, lambda: Airbench(64)),
    "airbench/32": (48, lambda: Airbench(32)),
    "resnet10-ap-bn": (160, lambda: PooledResNet(1, 160, "bn")),
}


def file_name(network):
    return network.replace("/", "_")


def save(path, tensors):
    header, blobs, at = {}, [], 0
    for name, tensor in tensors.items():
        raw = tensor.detach().float().contiguous().numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + len(raw)]}
        blobs.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def load(path):
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        kind = {"F32": torch.float32, "I64": torch.int64}[entry["dtype"]]
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        values = torch.frombuffer(bytearray(raw[start:end]), dtype=kind)
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def perturb(net):
    """Moves norms and running statistics away from the 1 and 0 of a fresh network, where mistakes would not show."""
    for name, tensor in list(net.named_parameters()) + list(net.named_buffers()):
        if name.endswith("running_var"):
            tensor.data.uniform_(0.5, 1.5)
        elif name.endswith("running_mean") or (tensor.dim() == 1 and name.endswith("bias")):
            tensor.data.normal_(0, 0.1)
        elif tensor.dim() == 1 and name.endswith("weight"):
            tensor.data.uniform_(0.8, 1.2)


def without_noise(net):
    """Dropout and stochastic depth draw other numbers there and here."""
    for module in net.modules():
        if isinstance(module, (nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
    return net


def export(folder):
    for number, (name, (size, build)) in enumerate(NETWORKS.items()):
        torch.manual_seed(number)
        net = without_noise(build())
        perturb(net)
        images = torch.randn(6, 3, size, size)
        weights = {key: value.clone() for key, value in net.state_dict().items()}
        save(folder / f"{file_name(name)}.weights.safetensors", weights)
        # In fp64, so that only our own rounding counts.
        net.double()
        exact = images.double()
        with torch.no_grad():
            expected = {"images": images, "eval.logits": net.eval()(exact), "train.logits": net.train()(exact)}
        expected |= {f"after.{key}": value for key, value in net.named_buffers() if "running" in key}
        save(folder / f"{file_name(name)}.expected.safetensors", expected)


def check(folder):
    for name, (size, build) in NETWORKS.items():
        path = folder / f"{file_name(name)}.ours.safetensors"
        net = build()
        # PyTorch itself fills in num_batches_tracked where a file has none.
        net.load_state_dict(load(path), strict=True)
        ours = load(folder / f"{file_name(name)}.ours-logits.safetensors")
        with torch.no_grad():
            logits = net.eval()(ours["images"])
        print(json.dumps({"network": name, "off": (logits - ours["logits"]).abs().max().item()}))


if __name__ == "__main__":
    {"export": export, "check": check}[sys.argv[1]](Path(sys.argv[2]))

"""Opens sets as their users do, and prints what is found as JSON. Arguments: pairs of a set's folder and its format."""

import base64
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

from datasets import Image, load_dataset
from torchvision.datasets import ImageFolder


def pixels(image):
    return base64.b16encode(image.convert("RGB").tobytes()).decode()


def look(folder, kind):
    found = {}
    if kind != "parquet":
        plain = ImageFolder(os.path.join(folder, "train"))
        found["torchvision"] = {"classes": plain.classes, "rows": [[label, pixels(image)] for image, label in plain]}
    data = load_dataset(folder, split="train")
    found["datasets"] = {
        "classes": data.features["label"].names,
        "image": isinstance(data.features["image"], Image),
        "rows": [[row["label"], pixels(row["image"])] for row in data],
        "tiles": data["tiles"][:] if "tiles" in data.features else None,
    }
    return found


arguments = iter(sys.argv[1:])
json.dump([look(folder, kind) for folder, kind in zip(arguments, arguments)], sys.stdout)

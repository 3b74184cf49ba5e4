"""Opens a set as its users do, and prints what is found as JSON. Arguments: the folder of the set, its format."""

import base64
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

from datasets import Image, load_dataset
from torchvision.datasets import ImageFolder


def pixels(image):
    return base64.b16encode(image.convert("RGB").tobytes()).decode()


folder, kind = sys.argv[1:]
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
json.dump(found, sys.stdout)

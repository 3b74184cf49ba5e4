"""Decodes every file below a folder as Pillow does. Arguments: the folder, and one for the pixels.

Prints JSON from name to [width, height] or to the error's name; the pixels of file i in sorted order go to i.rgb.
"""

import json
import os
import sys
import warnings

from PIL import Image

warnings.simplefilter("ignore")
folder, pixels = sys.argv[1:]
found = {}
for at, name in enumerate(sorted(os.listdir(folder))):
    try:
        image = Image.open(os.path.join(folder, name)).convert("RGB")
    except Exception as error:
        found[name] = type(error).__name__
        continue
    found[name] = list(image.size)
    with open(os.path.join(pixels, f"{at}.rgb"), "wb") as out:
        out.write(image.tobytes())
json.dump(found, sys.stdout)

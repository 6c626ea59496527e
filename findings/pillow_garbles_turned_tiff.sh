#!/usr/bin/env bash
# Pillow 13.0.0 garbles an uncompressed TIFF file with an EXIF orientation of 90 degrees, if it is opened by its name.
#
# One would expect `Image.open("a.tif")` and `Image.open(stream)` to give the same pixels. By its name, an uncompressed
# file of 8- or 16-bit gray is mapped into memory, and the map has the width and height of the upright image where the
# stored ones are meant: rows are cut at the wrong places, and then turned. From a stream, or compressed, or as floats,
# it is right. Nothing is said.
#
# Prints the pixels of a picture of 3 x 4 that is stored on its side, read in both ways, and fails if they change.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0

cat > "$folder/turned.py" <<'PYTHON'
import sys

from PIL import Image

stored = Image.frombytes("L", (4, 3), bytes(range(12)))
exif = Image.Exif()
exif[0x0112] = 6  # a viewer turns it by 90 degrees clockwise
stored.save(sys.argv[1], exif=exif)
for source in (sys.argv[1], open(sys.argv[1], "rb")):
    image = Image.open(source)
    image.load()
    print(image.size[0], "x", image.size[1], ":", *image.tobytes())
PYTHON

mapfile -t seen < <("$folder/venv/bin/python" "$folder/turned.py" "$folder/a.tif")
echo "by its name:   ${seen[0]}"
echo "from a stream: ${seen[1]}"
[[ ${seen[1]} == "3 x 4 : 8 4 0 9 5 1 10 6 2 11 7 3" && ${seen[0]} != "${seen[1]}" ]] \
  || { echo "changed: expected the upright picture from the stream, and another one by the name" >&2; exit 1; }

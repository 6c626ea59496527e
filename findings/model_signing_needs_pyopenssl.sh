#!/usr/bin/env bash
# model-signing 1.1.1 (OpenSSF) imports pyOpenSSL and does not ask for it: a fresh install cannot be imported.
#
# One would expect `pip install model-signing` to be enough for `model_signing verify key`. It was, as long as sigstore
# brought pyOpenSSL; sigstore 4.5.1, which model-signing allows, does not any more, and every command and the import of
# the package end with ModuleNotFoundError, those that use no certificate too. With pyopenssl installed beside it all
# works.
#
# Prints what the import says without and with it, and fails if that changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
pip=("$folder/venv/bin/pip" install --quiet --disable-pip-version-check)
"${pip[@]}" model-signing==1.1.1 sigstore==4.5.1 cryptography==50.0.2

said() { "$folder/venv/bin/python" -c 'import model_signing' 2>&1 | tail -n 1 || true; }
without=$(said)
"${pip[@]}" pyopenssl==26.4.0
beside=$(said)
echo "as it is installed: ${without:-imported}"
echo "with pyopenssl:     ${beside:-imported}"
[[ $without == "ModuleNotFoundError: No module named 'OpenSSL'" && -z $beside ]] \
  || { echo "changed: expected the first to fail for want of OpenSSL, and the second to work" >&2; exit 1; }

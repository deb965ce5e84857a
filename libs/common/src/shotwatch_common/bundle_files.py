"""The files of a model bundle that are needed for scoring, and the digest that promotion pins."""

from collections.abc import Mapping
from hashlib import sha256

MANIFEST = "bundle.json"
NETWORK = "autoencoder.tflite"
CAMERAS = "cameras.npz"
BUNDLE_FILES = (MANIFEST, NETWORK, CAMERAS)


def digest_of(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 digest of the names and contents of a bundle's files, in hexadecimal.

    It equals the output of the coreutils: `sha256sum autoencoder.tflite bundle.json cameras.npz | sha256sum`.

    Args:
        files: name → content; exactly BUNDLE_FILES.

    Raises:
        ValueError: there are other files, or a file is missing.
    """
    if sorted(files) != sorted(BUNDLE_FILES):
        raise ValueError(f"a bundle consists of {', '.join(BUNDLE_FILES)}, not of {', '.join(files)}")
    lines = (f"{sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return sha256("".join(lines).encode()).hexdigest()

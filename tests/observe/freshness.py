"""What a picture was drawn from: a digest, in the picture's metadata."""

import hashlib
import zlib

from expressions import ROOT

DRAWN_FROM = "Dashboard-SHA256"
PICTURES = ROOT / "docs/pictures"
# The signature of a PNG, and its header: a length, a type, 13 bytes and a checksum.
SIGNATURE, HEADER = 8, 25


def digest(name):
    """Of a dashboard."""
    return hashlib.sha256((ROOT / f"dashboards/{name}.json").read_bytes()).hexdigest()


def drawn_from(name):
    """The digest that a picture was drawn from. A PNG keeps text in chunks of a length, a type, the data and a checksum."""
    data, at = (PICTURES / f"{name}.png").read_bytes(), SIGNATURE
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        content = data[at + 8 : at + 8 + length]
        if kind == b"tEXt" and content.startswith(DRAWN_FROM.encode() + b"\0"):
            return content.split(b"\0")[1].decode()
        at += length + 12
    return None


def sign(picture, digest):
    """Adds the digest to a PNG, behind its header."""
    data, chunk = picture.read_bytes(), b"tEXt" + DRAWN_FROM.encode() + b"\0" + digest.encode()
    text = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    at = SIGNATURE + HEADER
    picture.write_bytes(data[:at] + text + data[at:])

"""Which dashboard a picture was drawn from: its digest, in the picture's metadata."""

import hashlib

from expressions import ROOT

DRAWN_FROM = "Dashboard-SHA256"
PICTURES = ROOT / "docs/pictures"


def digest(name):
    return hashlib.sha256((ROOT / f"dashboards/{name}.json").read_bytes()).hexdigest()


def drawn_from(name):
    """The digest of the dashboard that a picture was drawn from. A PNG keeps text in chunks of a length, a type and the data."""
    data, at = (PICTURES / f"{name}.png").read_bytes(), 8
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        content = data[at + 8 : at + 8 + length]
        if kind == b"tEXt" and content.startswith(DRAWN_FROM.encode() + b"\0"):
            return content.split(b"\0")[1].decode()
        at += length + 12
    return None

#!/usr/bin/env python3
"""Vendor: the page's third-party files, re-created from their packages or checked byte by byte.

In    harness/server/page/vendor/vendor.lock.json: name, version, licence, sha512 of the package, sha256 of each file
Out   the files beside it; or one line for each that differs
Rule  ``--check`` needs no network; fetching goes through the ordinary npm client, so its settings say from where
Why   the page works without npm, and nobody has to trust that a committed minified file is what it says it is
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

VENDOR = Path(__file__).resolve().parent.parent / "harness" / "server" / "page" / "vendor"
LOCK = VENDOR / "vendor.lock.json"


@dataclass(frozen=True, slots=True)
class Package:
    """One package of the lock file; ``files`` are (path in the package, name beside the lock file, sha256)."""

    name: str
    version: str
    licence: str
    sha512: str
    files: tuple[tuple[str, str, str], ...]


def main() -> int:
    """Check the committed files, or write them anew."""
    parser = argparse.ArgumentParser(description="Re-create or check the page's vendored files.")
    parser.add_argument("--check", action="store_true", help="compare the committed files with the lock file, offline")
    options = parser.parse_args()
    packages = read_lock()
    if not options.check:
        for package in packages:
            fetch(package)
    faults = check(packages)
    for fault in faults:
        print(fault, file=sys.stderr)
    files = sum(len(package.files) for package in packages)
    print(f"vendor: {files} files of {len(packages)} packages, {len(faults)} at fault")
    return 1 if faults else 0


def read_lock() -> list[Package]:
    """Read the lock file."""
    return [
        Package(
            name=entry["name"],
            version=entry["version"],
            licence=entry["licence"],
            sha512=entry["sha512"],
            files=tuple((file["from"], file["to"], file["sha256"]) for file in entry["files"]),
        )
        for entry in json.loads(LOCK.read_text(encoding="utf-8"))["packages"]
    ]


def check(packages: list[Package]) -> list[str]:
    """Name every vendored file that is missing, changed or not in the lock file."""
    faults = []
    known = {LOCK.name}
    for package in packages:
        for _, name, sha256 in package.files:
            known.add(name)
            path = VENDOR / name
            if not path.is_file():
                faults.append(f"{path}: missing; run ci/vendor.py")
            elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                faults.append(f"{path}: not the bytes of {package.name} {package.version}; run ci/vendor.py")
    strays = sorted(path for path in VENDOR.iterdir() if path.name not in known)
    return faults + [f"{path}: not in {LOCK.name}" for path in strays]


def fetch(package: Package) -> None:
    """Download one package, prove it by its sha512, copy the files that the lock file names."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("vendor: npm is not installed; --check needs none")
    wanted = f"{package.name}@{package.version}"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [npm, "pack", wanted, "--pack-destination", folder, "--silent"], check=True, stdout=subprocess.DEVNULL
        )
        (archive,) = Path(folder).glob("*.tgz")
        found = hashlib.sha512(archive.read_bytes()).hexdigest()
        if found != package.sha512:
            sys.exit(f"vendor: {wanted} has sha512 {found}, the lock file says {package.sha512}; nothing was written")
        with tarfile.open(archive) as tar:
            for inside, name, _ in package.files:
                member = tar.extractfile(inside)
                if member is None:
                    sys.exit(f"vendor: {wanted} holds no file {inside}")
                (VENDOR / name).write_bytes(member.read())


if __name__ == "__main__":
    sys.exit(main())

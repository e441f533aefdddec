"""What the virtual machine is made of, made once and kept: a kernel, an initramfs and a root disk of Debian 12.

Linux 6.1 and Python 3.11 are the oldest that sampan supports; that is what makes this machine worth its while.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.debian import QUIETLY, RELEASE, Debian

REPOSITORY = Path(__file__).parents[2]
_GUEST = Path(__file__).parent / "guest"
_PYTHON = "3.11"  # of that release
_DEBIAN = Debian("test-vm")
_KERNEL = "linux-image-cloud-amd64"
_PACKAGES = (
    *("python3", "libseccomp2", "libnftables1", "nftables", "iproute2", "iputils-ping", "curl"),
    *("busybox", "procps", "kmod", "util-linux", "xfsprogs", "crun", "runc", "lxc"),
)
_TOOLS = ("pytest", "pytest-timeout", "hypothesis", "docker")
"""Of the developers' tools, those that the tests import."""
_MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk")
_DISK = "4G"  # as the guest sees it; the file has holes
_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "debootstrap": "debootstrap",
    "mke2fs": "e2fsprogs",
    "cpio": "cpio",
    "busybox": "busybox",
}
"""The programs that are needed here, and Debian's packages of them."""


@dataclass(frozen=True)
class Image:
    """Where the parts are, below one directory."""

    directory: Path

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def initramfs(self) -> Path:
        return self.directory / "initramfs"

    @property
    def disk(self) -> Path:
        return self.directory / "disk"


def make(cache: Path) -> Image:
    """The image in ``cache``, made anew if what it is made of has changed. Exits with a sentence if it cannot be."""
    recipe = "\n".join([*_PACKAGES, *_requirements(), _KERNEL, _DISK, (_GUEST / "initramfs.sh").read_text()])
    image = Image(cache / hashlib.sha256(recipe.encode()).hexdigest()[:12])
    _DEBIAN.need(_PROGRAMS)
    if image.disk.exists():
        return image
    if os.geteuid() != 0:
        sys.exit("test-vm: making the machine's root file system takes root (once; then it is kept)")
    making = Image(cache / "making")
    shutil.rmtree(making.directory, ignore_errors=True)
    root = making.directory / "root"
    root.mkdir(parents=True)
    _DEBIAN.say(f"making a Debian {RELEASE} root file system (some minutes; it is kept in {cache})")
    _DEBIAN.bootstrap(root, _PACKAGES)
    _python_packages(root)
    _kernel(making, root)
    _initramfs(making, root)
    _DEBIAN.run("mke2fs", "-q", "-t", "ext4", "-d", root, making.disk, _DISK)
    shutil.rmtree(root)
    for older in cache.glob(f"*/{image.disk.name}"):
        if older != making.disk:
            shutil.rmtree(older.parent)
    making.directory.rename(image.directory)
    return image


def _requirements() -> list[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = [each for extra in project["optional-dependencies"].values() for each in extra]
    names = {re.split(r"[><=~! \[]", each)[0]: each for each in extras}
    return [*project["dependencies"], *(names[tool] for tool in _TOOLS)]


def _python_packages(root: Path) -> None:
    """By this machine's pip, for the guest's Python: nothing needs to be compiled, and the guest needs no network."""
    site = root / f"usr/local/lib/python{_PYTHON}/dist-packages"
    site.mkdir(parents=True, exist_ok=True)
    platforms = [f"--platform={name}_x86_64" for name in ("manylinux2014", "manylinux_2_28", "manylinux_2_34")]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--only-binary=:all:"]
    _DEBIAN.run(*pip, f"--python-version={_PYTHON}", *platforms, f"--target={site}", *_requirements())
    (site / "sampan-vm.pth").write_text("/job/site\n")  # where each run brings the sampan that is to be tested


def _kernel(image: Image, root: Path) -> None:
    """The kernel's package is unpacked, not installed: its set-up would build an initramfs that nobody needs."""
    script = f"""apt-get -qq update
        package=$(apt-cache depends {_KERNEL} | sed -n 's/.*Depends: \\(linux-image-.*\\)/\\1/p')
        cd /tmp && apt-get -qq download $package
        dpkg -x linux-image-*.deb kernel
        mv kernel/lib/modules /usr/lib/ && mv kernel/boot/vmlinuz-* /boot/
        rm -rf linux-image-*.deb kernel /var/lib/apt/lists/*
        depmod $(ls /usr/lib/modules)"""
    _DEBIAN.run("chroot", root, "sh", "-euc", script, env=QUIETLY)
    [kernel] = (root / "boot").glob("vmlinuz-*")
    shutil.copy(kernel, image.kernel)


def _initramfs(image: Image, root: Path) -> None:
    tree = image.directory / "first"
    for directory in ("bin", "modules", "proc", "sys", "dev", "root"):
        (tree / directory).mkdir(parents=True)
    shutil.copy(_GUEST / "initramfs.sh", tree / "init")
    (tree / "init").chmod(0o755)
    # A busybox that is not static brings its libraries.
    busybox = shutil.which("busybox")
    assert busybox
    for library in re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", busybox], capture_output=True, text=True).stdout):
        (tree / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, tree / library.lstrip("/"))
    shutil.copy(busybox, tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    for name in _MODULES:
        [module] = (root / "usr/lib/modules").rglob(f"{name}.ko")
        shutil.copy(module, tree / "modules")
    with image.initramfs.open("wb") as out:
        names = subprocess.run(["find", "."], cwd=tree, capture_output=True, check=True).stdout
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=tree, input=names, stdout=out, check=True)
    shutil.rmtree(tree)

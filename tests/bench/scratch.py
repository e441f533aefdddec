"""Where the bench works: a directory, network namespaces and engines of its own, all gone at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from rivals import Podman

from harness import Engine
from harness.dockerd import Dockerd
from harness.net import Net
from sampan.linux import mounts
from sampan.testing.runtime import rootfs

IMAGE = "bench:latest"


class Scratch:
    """What the measurements share; an engine is started when the first of them asks for it."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._stack = ExitStack()
        self.name = f"sampan-bench-{os.getpid()}"
        """Of whatever is made outside of the directory."""

    def __enter__(self) -> Scratch:
        self.directory = Path(tempfile.mkdtemp(prefix="sampan-bench-"))  # in /tmp: sockets' paths must be short
        self.directory.chmod(0o711)  # lxc wants to pass
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self._stack.callback(self._unmount)
        # What engines and runtimes keep under /run, which is a tmpfs on a usual machine; images are on the disk.
        self.run = self.directory / "run"
        self.run.mkdir()
        mounts.mount("tmpfs", self.run, "tmpfs", data="mode=711")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def tell(self, text: str) -> None:
        """Say on standard error what is going on."""
        if not self._quiet:
            print(f"  {text}", file=sys.stderr, flush=True)

    @cached_property
    def rootfs(self) -> Path:
        """A small root file system made of this machine's busybox."""
        return rootfs.make(self.directory / "rootfs")

    @cached_property
    def archive(self) -> Path:
        """The same as a tar file, to import as an image."""
        path = self.directory / "rootfs.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(self.rootfs, arcname=".")
        return path

    @cached_property
    def sampan(self) -> Engine:
        """Our engine as it comes, but for its places."""
        return self.another("s")

    def another(self, name: str) -> Engine:
        """One more of ours, to be compared with the first."""
        self.tell("starting sampan")
        engine = self._stack.enter_context(Engine(log_level="warning", exec_root=f"{self.run}/{name}"))
        docker(engine.host, "import", str(self.archive), IMAGE)
        return engine

    @cached_property
    def dockerd(self) -> Dockerd | None:
        """Debian's dockerd, or another one that this machine has; None without one."""
        if shutil.which("dockerd") is None:
            return None
        self.tell("starting dockerd")
        net = self.net("d")
        rival = self._stack.enter_context(Dockerd(self.directory / "d", self.run / "d", net, self.name))
        docker(rival.host, "import", str(self.archive), IMAGE)
        return rival

    @cached_property
    def podman(self) -> Podman | None:
        if shutil.which("podman") is None:
            return None
        rival = self._stack.enter_context(Podman(self.directory / "p", self.run / "p", self.net("p"), self.name))
        rival.run("import", "--quiet", str(self.archive), IMAGE)
        return rival

    def net(self, name: str) -> Net:
        """A network namespace, so that nobody's firewall rules and links touch the host's."""
        directory = self.directory / f"net-{name}"
        directory.mkdir()
        net = Net(directory)
        self._stack.callback(net.remove)
        net.make()
        return net

    def on_exit(self, *args: object, **kwargs: object) -> None:
        self._stack.callback(*args, **kwargs)  # type: ignore[arg-type]

    def _unmount(self) -> None:
        targets = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for target in sorted((each for each in targets if each.startswith(f"{self.directory}/")), reverse=True):
            subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)
        for parent in Path("/sys/fs/cgroup").glob(f"*/{self.name}"):
            for directory, _, _ in os.walk(parent, topdown=False):
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()


def docker(host: str, *args: str) -> str:
    """The docker CLI of this machine; its words if it fails."""
    done = subprocess.run(["docker", "-H", host, *args], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"docker {' '.join(args)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()

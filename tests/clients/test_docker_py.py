"""docker-py, as its users use it."""

from __future__ import annotations

import io
import socket
import tarfile
import time
from typing import Any

import pytest

from harness import Engine
from harness.wild_registry import Wild, layer

pytestmark = pytest.mark.root


@pytest.fixture
def boat(docker_py: Any, shell: str) -> Any:
    """A container that runs."""
    return docker_py.containers.run(shell, ["sh", "-c", "echo one; echo two >&2; sleep 100"], detach=True)


def test_run(docker_py: Any, shell: str) -> None:
    from docker.errors import ContainerError

    assert docker_py.containers.run(shell, "echo 'a b' c", remove=True) == b"a b c\n"
    with pytest.raises(ContainerError) as failure:
        docker_py.containers.run(shell, ["sh", "-c", "echo why >&2; exit 3"], remove=True)
    assert (failure.value.exit_status, failure.value.stderr) == (3, b"why\n")


def test_an_image_of_a_registry(docker_py: Any, engine: Engine) -> None:
    from docker.errors import APIError, ImageNotFound, NotFound

    with Wild(engine) as registry:
        registry.image(layer())
        assert docker_py.images.pull(registry.name("a"), tag="1").tags == [registry.name("a:1")]
        with pytest.raises(NotFound, match="manifest unknown"):
            docker_py.containers.run(registry.name("a:2"), "true")
        registry.on("/v2/b/", lambda request: request.error(404, "NAME_UNKNOWN"))
        with pytest.raises(ImageNotFound):
            docker_py.containers.run(registry.name("b:2"), "true")
        told = list(docker_py.images.push(registry.name("a"), tag="1", stream=True, decode=True))
        assert told[-1]["aux"]["Tag"] == "1"
    with pytest.raises(APIError, match="proxyconnect tcp"):  # there is no way to Docker Hub from here
        docker_py.containers.run("no-such-image", "true")


def test_no_output_of_an_exec_is_lost(boat: Any) -> None:
    """docker-py drops what it reads together with the head of the answer."""
    for _ in range(20):
        done = boat.exec_run(["sh", "-c", "echo o; echo e >&2; exit 4"], demux=True)
        assert (done.exit_code, done.output) == (4, (b"o\n", b"e\n"))
    assert boat.exec_run("tty", tty=True).output == b"/dev/pts/0\r\n"
    assert boat.exec_run("true", user="nobody-here").exit_code == 126


def test_volumes(docker_py: Any, shell: str) -> None:
    from docker.errors import APIError, NotFound
    from docker.types import Mount

    made = docker_py.volumes.create("hold", labels={"a": "b"})
    binds = {"hold": {"bind": "/hold", "mode": "rw"}}
    docker_py.containers.run(shell, ["sh", "-c", "echo tea > /hold/chest"], volumes=binds, remove=True)
    boat = docker_py.containers.create(shell, "cat /x/chest", mounts=[Mount("/x", "hold", read_only=True)])
    boat.start()
    boat.wait()
    assert boat.logs() == b"tea\n"
    with pytest.raises(APIError) as refused:
        made.remove()
    assert refused.value.status_code == 409
    boat.remove(v=True)
    assert [volume.name for volume in docker_py.volumes.list(filters={"label": "a=b"})] == ["hold"]
    made.remove()
    with pytest.raises(NotFound):
        docker_py.volumes.get("hold")


def test_an_exec_as_a_socket(boat: Any) -> None:
    stream = boat.exec_run("cat", stdin=True, socket=True).output._sock
    stream.settimeout(20)
    stream.sendall(b"hello")
    stream.shutdown(1)
    said = b""
    while piece := stream.recv(4096):
        said += piece
    assert said == b"\x01\x00\x00\x00\x00\x00\x00\x05hello"


def test_attached_before_the_start(docker_py: Any, shell: str) -> None:
    boat = docker_py.containers.create(shell, "cat", stdin_open=True)
    stream = boat.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})._sock
    stream.settimeout(20)
    boat.start()
    stream.sendall(b"ahoy")
    assert stream.recv(4096) == b"\x01\x00\x00\x00\x00\x00\x00\x04ahoy"
    stream.close()


def test_logs(boat: Any) -> None:
    deadline = time.monotonic() + 20
    while boat.logs(stdout=False) != b"two\n" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert boat.logs(stderr=False) == b"one\n"
    assert next(boat.logs(stream=True, stderr=False)) == b"one\n"
    assert boat.logs(since=int(time.time()) + 100) == b""
    assert next(boat.attach(stream=True, logs=True, stderr=False)) == b"one\n"


COUNT = "i=0; while :; do i=$((i+1)); echo $i; done"
LOGS = {
    "rotated": {"type": "json-file", "config": {"max-size": "100k", "max-file": "5"}},
    "local": {"type": "local", "config": {}},
    "buffered": {"type": "json-file", "config": {"mode": "non-blocking", "max-buffer-size": "100m"}},
}


@pytest.mark.parametrize("log", LOGS)
def test_a_log_and_what_is_said_afterwards_fit_together(docker_py: Any, shell: str, log: str) -> None:
    from docker.types import LogConfig

    boat = docker_py.containers.run(
        shell, ["sh", "-c", COUNT], detach=True, tty=True, log_config=LogConfig(**LOGS[log])
    )
    for _ in range(4):
        known = int(boat.logs(tail=1) or 0)
        stream = boat.attach_socket(params={"stdout": 1, "stream": 1, "logs": 1})._sock
        stream.settimeout(20)
        said = b""
        until = time.monotonic() + 40
        while said.count(b"\n") < 3 or int(said[-100:].split(b"\r\n")[-2]) < known + 3000:
            said += stream.recv(1 << 20)
            assert time.monotonic() < until, (known, len(said), said[:50], said[-50:])
        stream.shutdown(socket.SHUT_RDWR)  # docker-py holds more of it than this
        numbers = [int(line) for line in said.split(b"\r\n")[1:-1]]  # files that go are not read from their beginning
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    boat.remove(force=True)


@pytest.mark.parametrize("tty", [False, True])
def test_a_line_that_is_not_finished_is_seen_by_who_comes_later(docker_py: Any, shell: str, tty: bool) -> None:
    asking = ["sh", "-c", "echo first; printf 'name? '; read x; echo; echo $x; sleep 100"]
    boat = docker_py.containers.run(shell, asking, detach=True, stdin_open=True, tty=tty)
    while b"first" not in boat.logs():
        time.sleep(0.01)
    for _ in range(2):
        stream = boat.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1, "logs": 1})._sock
        stream.settimeout(20)
        said = b""
        while b"name? " not in said:
            said += stream.recv(4096)
        assert said.count(b"first") == said.count(b"name? ") == 1
        stream.close()
    boat.remove(force=True)


def test_what_was_said_in_a_run_before_and_is_said_in_the_next(docker_py: Any, shell: str) -> None:
    boat = docker_py.containers.create(shell, ["echo", "aboard"])
    for number in (1, 2):
        stream = boat.attach(stream=True, logs=True)
        boat.start()
        assert b"".join(stream) == b"aboard\n" * number
        boat.wait()


def test_the_life_of_a_container(docker_py: Any, boat: Any) -> None:
    from docker.errors import NotFound

    states = []
    for act in (boat.pause, boat.unpause, lambda: boat.kill("SIGKILL"), boat.start, lambda: boat.stop(timeout=0)):
        act()
        boat.reload()
        states.append(boat.status)
    assert states == ["paused", "running", "exited", "running", "exited"]
    assert boat.wait()["StatusCode"] == 137
    boat.remove()
    with pytest.raises(NotFound):
        docker_py.containers.get(boat.id)


def test_update(boat: Any) -> None:
    policy = {"Name": "on-failure", "MaximumRetryCount": 2}
    boat.update(mem_limit="64m", memswap_limit="128m", cpu_shares=200, cpuset_cpus="0", restart_policy=policy)
    boat.reload()
    host = boat.attrs["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["CpuShares"], host["CpusetCpus"]) == (
        64 << 20,
        128 << 20,
        200,
        "0",
    )
    assert host["RestartPolicy"] == policy
    assert next(boat.stats(decode=True))["memory_stats"]["limit"] == 64 << 20


def test_stats_and_top(boat: Any) -> None:
    assert "PID" in boat.top()["Titles"]
    assert boat.stats(stream=False)["networks"]["eth0"]["rx_bytes"] >= 0


def test_networks(docker_py: Any, shell: str) -> None:
    network = docker_py.networks.create("sea", labels={"a": "b"})
    boat = docker_py.containers.run(shell, "sleep 100", detach=True, network="sea")
    network.reload()
    assert network.containers == [boat]
    boat.reload()
    assert boat.attrs["NetworkSettings"]["Networks"]["sea"]["IPAddress"]
    boat.remove(force=True)
    network.remove()
    assert docker_py.networks.list(names=["sea"]) == []


def test_networks_of_a_running_container(docker_py: Any, boat: Any) -> None:
    from docker.errors import APIError
    from docker.types import IPAMConfig, IPAMPool

    ipam = IPAMConfig(pool_configs=[IPAMPool(subnet="10.88.0.0/24", gateway="10.88.0.254")])
    network = docker_py.networks.create("lagoon", driver="bridge", ipam=ipam, internal=True)
    network.connect(boat, ipv4_address="10.88.0.7", aliases=["punt"])
    boat.reload()
    place = boat.attrs["NetworkSettings"]["Networks"]["lagoon"]
    assert (place["IPAddress"], place["Gateway"], place["Aliases"]) == ("10.88.0.7", "10.88.0.254", ["punt"])
    assert b"eth1" in boat.exec_run("ls /sys/class/net").output
    with pytest.raises(APIError, match="already exists in network lagoon"):
        network.connect(boat)
    with pytest.raises(APIError, match="has active endpoints"):
        network.remove()
    network.disconnect(boat, force=True)
    with pytest.raises(APIError, match="is not connected to network lagoon"):
        network.disconnect(boat)
    assert docker_py.networks.prune(filters={"label": "none"})["NetworksDeleted"] is None
    network.remove()


def test_images(docker_py: Any, shell: str) -> None:
    from docker.errors import ImageLoadError, ImageNotFound

    image = docker_py.images.get(shell)
    assert image.tag("copy", "1")
    [loaded] = docker_py.images.load(b"".join(docker_py.images.get("copy:1").save(named=True)))
    assert loaded.id == image.id
    docker_py.images.remove("copy:1")
    with pytest.raises(ImageLoadError):
        docker_py.images.load(b"abc")
    with pytest.raises(ImageNotFound):
        docker_py.images.get("copy:1")


def test_files_and_images_of_a_container(docker_py: Any, boat: Any) -> None:
    from docker.errors import NotFound

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("deck/plank")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"oak"))
    assert boat.put_archive("/tmp", archive.getvalue())
    data, told = boat.get_archive("/tmp/deck/plank")
    assert (told["name"], told["size"], told["linkTarget"]) == ("plank", 3, "")
    with tarfile.open(fileobj=io.BytesIO(b"".join(data))) as tar:
        file = tar.extractfile("plank")
        assert file
        assert file.read() == b"oak"
    with pytest.raises(NotFound, match="Could not find the file /none"):
        boat.get_archive("/none")
    assert {"Path": "/tmp/deck/plank", "Kind": 1} in boat.diff()
    with tarfile.open(fileobj=io.BytesIO(b"".join(boat.export()))) as tar:
        assert "tmp/deck/plank" in tar.getnames()
    image = boat.commit("kept", "1", message="why", author="me", changes='CMD ["cat", "/tmp/deck/plank"]')
    assert image.tags == ["kept:1"]
    assert docker_py.containers.run("kept:1", remove=True) == b"oak"
    docker_py.images.remove("kept:1")

"""What commands ask of the daemon, what they print, and with which status they end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unit.cli.fake_daemon import Answer, Daemon, Request, Result, frame

Sampan = Callable[..., Result]

ID = "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


def container(**more: Any) -> dict[str, Any]:
    return {
        "Id": ID,
        "Names": ["/web"],
        "Image": "shell",
        "ImageID": "sha256:" + ID,
        "Command": "sleep 1000000000000000",
        "Created": int(time.time()) - 90,
        "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
        "Labels": {"a": "1"},
        "State": "running",
        "Status": "Up About a minute",
        "NetworkSettings": {"Networks": {"bridge": {}}},
        "Mounts": [],
        **more,
    }


def test_ps_is_dockers_table(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("GET /containers/json", [container()])
    assert sampan("ps").out == (
        "CONTAINER ID   IMAGE     COMMAND                  CREATED              STATUS              "
        "PORTS                  NAMES\n"
        '4f53cda18c2b   shell     "sleep 1000000000000…"   About a minute ago   Up About a minute   '
        "0.0.0.0:8080->80/tcp   web\n"
    )


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["-q"], "4f53cda18c2b\n"),
        (["-q", "--no-trunc"], ID + "\n"),
        (["--format", "{{.Names}}\\t{{.State}} {{.Label \"a\"}}"], "web\trunning 1\n"),
        (["--format", "table {{.ID}}\\t{{.Ports}}"], "CONTAINER ID   PORTS\n4f53cda18c2b   0.0.0.0:8080->80/tcp\n"),
    ],
)  # fmt: skip
def test_ps_in_other_forms(daemon: Daemon, sampan: Sampan, words: list[str], out: str) -> None:
    daemon.on("GET /containers/json", [container()])
    assert sampan("ps", *words).out == out


def test_ps_as_json_lines(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("GET /containers/json", [container(), container(Names=["/other"])])
    lines = [json.loads(line) for line in sampan("ps", "--format", "json").out.splitlines()]
    assert [line["Names"] for line in lines] == ["web", "other"]


def test_ps_asks_for_what_the_flags_say(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("GET /containers/json", [])
    result = sampan("container", "list", "-a", "-s", "-n", "3", "-f", "status=exited", "-f", "label=a=b")
    assert result.out.startswith("CONTAINER ID")
    query = daemon.requests[0].query
    assert {key: query[key] for key in ("all", "limit", "size")} == {"all": ["1"], "limit": ["3"], "size": ["1"]}
    assert json.loads(query["filters"][0]) == {"status": {"exited": True}, "label": {"a=b": True}}


def test_several_names_go_on_after_an_error(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("POST /containers/a/stop", Answer(204))
    daemon.on("POST /containers/b/stop", Answer(404, {"message": "No such container: b"}))
    daemon.on("POST /containers/c/stop", Answer(304))
    assert sampan("stop", "-t", "3", "a", "b", "c") == Result(1, "a\nc\n", "sampan: No such container: b\n")
    assert daemon.requests[0].query["t"] == ["3"]


def test_rm_force_forgives_what_is_not_there(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("DELETE /containers/x", Answer(404, {"message": "No such container: x"}))
    assert sampan("rm", "x").code == 1
    assert sampan("rm", "-f", "x").code == 0


def test_wait_prints_the_status(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("POST /containers/a/wait", {"StatusCode": 7})
    assert sampan("wait", "a") == Result(0, "7\n", "")


def test_inspect_looks_in_every_noun(daemon: Daemon, sampan: Sampan) -> None:
    missing = Answer(404, {"message": "No such …"})
    for path in ("/containers/x/json", "/images/x/json", "/containers/no/json", "/images/no/json", "/networks/no"):
        daemon.on(f"GET {path}", missing)
    daemon.on("GET /networks/x", {"Name": "x", "Driver": "bridge"})
    assert sampan("inspect", "-f", "{{.Driver}}", "x") == Result(0, "bridge\n", "")
    result = sampan("inspect", "x", "no")
    assert json.loads(result.out) == [{"Name": "x", "Driver": "bridge"}]
    assert (result.code, result.err) == (1, "sampan: No such object: no\n")


def test_logs_go_where_they_came_from(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("GET /containers/web/json", {"Id": ID, "Config": {"Tty": False}})
    whole = frame(1, b"out\n") + frame(2, b"err\n") + frame(1, b"more\n")
    daemon.on(f"GET /containers/{ID}/logs", Answer(body=[whole[:3], whole[3:11], whole[11:]]))
    assert sampan("logs", "--tail", "2", "web") == Result(0, "out\nmore\n", "err\n")
    assert daemon.requests[-1].query["tail"] == ["2"]


def test_images_has_a_row_for_every_name(daemon: Daemon, sampan: Sampan) -> None:
    image = {"Id": "sha256:" + ID, "Created": int(time.time()) - 7200, "Size": 4269685, "RepoDigests": []}
    daemon.on("GET /images/json", [{**image, "RepoTags": ["h:5000/a:1", "b:latest"]}, {**image, "RepoTags": []}])
    assert sampan("images").out == (
        "REPOSITORY   TAG       IMAGE ID       CREATED       SIZE\n"
        "h:5000/a     1         4f53cda18c2b   2 hours ago   4.27MB\n"
        "b            latest    4f53cda18c2b   2 hours ago   4.27MB\n"
        "<none>       <none>    4f53cda18c2b   2 hours ago   4.27MB\n"
    )


def test_load_sends_the_file_and_shows_progress(daemon: Daemon, sampan: Sampan, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(b"x" * 3_000_000)
    daemon.on("GET /_ping", b"OK")
    daemon.on("POST /images/load", Answer(body=[b'{"stream":"Loaded image', b': a:1\\n"}\r\n']))
    assert sampan("load", "-i", str(archive)) == Result(0, "Loaded image: a:1\n", "")
    assert daemon.requests[-1].body == archive.read_bytes()


def test_load_tells_the_error_in_the_stream(daemon: Daemon, sampan: Sampan, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(b"x")
    daemon.on("GET /_ping", b"OK")
    daemon.on("POST /images/load", Answer(body=[b'{"errorDetail":{"message":"bad tar"},"error":"bad tar"}\n']))
    assert sampan("load", "-i", str(archive)) == Result(1, "", "sampan: bad tar\n")
    assert sampan("load", "-i", str(tmp_path / "no")).err == f"sampan: open {tmp_path}/no: no such file or directory\n"


def test_import_sends_every_change(daemon: Daemon, sampan: Sampan, tmp_path: Path) -> None:
    (tmp_path / "r.tar").write_bytes(b"tar")
    daemon.on("GET /_ping", b"OK")
    daemon.on("POST /images/create", Answer(body=[b'{"status":"sha256:1"}\n']))
    assert sampan("import", "-c", "CMD a", "-c", "ENV b=c", str(tmp_path / "r.tar"), "x:1").out == "sha256:1\n"
    assert daemon.requests[-1].query == {"fromSrc": ["-"], "repo": ["x:1"], "changes": ["CMD a", "ENV b=c"]}


def test_save_is_whole_or_nothing(daemon: Daemon, sampan: Sampan, tmp_path: Path) -> None:
    target = tmp_path / "out.tar"
    daemon.on("GET /images/get", Answer(body=[b"abc", b"def"]))
    assert sampan("save", "-o", str(target), "a", "b").code == 0
    assert target.read_bytes() == b"abcdef"
    assert daemon.requests[-1].query["names"] == ["a", "b"]

    (tmp_path / "link").symlink_to("out.tar")
    assert sampan("save", "-o", str(tmp_path / "link"), "a").code == 0
    assert (tmp_path / "link").is_symlink()
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert sampan("save", "-o", str(tmp_path / "pipe"), "a").code == 0
    assert os.read(reading, 10) == b"abcdef"
    os.close(reading)
    assert (tmp_path / "pipe").is_fifo()
    for path, why in ((tmp_path / "no" / "x", "no such file or directory"), (tmp_path, "is a directory")):
        assert sampan("save", "-o", str(path), "a").err == f"sampan: invalid output path: open {path}: {why}\n"

    def breaks(request: Request) -> None:
        request.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        request.socket.shutdown(2)

    daemon.on("GET /images/get", breaks)
    other = tmp_path / "other.tar"
    assert sampan("save", "-o", str(other), "a").err == "sampan: The daemon hung up in the middle of its answer\n"
    assert [path for path in tmp_path.iterdir() if "other" in path.name] == []


def test_rmi_tells_what_went(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("DELETE /images/a", [{"Untagged": "a:latest"}, {"Deleted": "sha256:1"}])
    assert sampan("rmi", "a").out == "Untagged: a:latest\nDeleted: sha256:1\n"


def test_from_host(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on(
        "POST /sampan/images/from-host", Answer(201, {"Id": "sha256:" + ID, "RepoTags": ["w:latest"], "Size": 1000})
    )
    assert sampan("image", "from-host", "-t", "w", "python3").out == "Made w:latest (4f53cda18c2b, 1kB)\n"
    assert daemon.requests[0].json == {"programs": ["python3"], "reference": "w"}


def test_network_create_sorts_addresses_into_subnets(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("POST /networks/create", Answer(201, {"Id": ID, "Warning": ""}))
    words = ["--subnet", "10.5.0.0/24", "--gateway", "10.5.0.1", "--subnet", "fd00::/64", "--ip-range", "10.5.0.128/25"]
    assert sampan("network", "create", "-d", "internal", "--label", "a=b", *words, "net").out == ID + "\n"
    body = daemon.requests[0].json
    assert body["IPAM"]["Config"] == [
        {"Subnet": "10.5.0.0/24", "Gateway": "10.5.0.1", "IPRange": "10.5.0.128/25"},
        {"Subnet": "fd00::/64"},
    ]
    assert (body["Name"], body["Driver"], body["Labels"]) == ("net", "internal", {"a": "b"})
    wrong = sampan("network", "create", "--subnet", "10.5.0.0/24", "--gateway", "10.6.0.1", "net")
    assert wrong.err.startswith("sampan: 10.6.0.1 is in none of the subnets")


def test_network_ls(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("GET /networks", [{"Id": ID, "Name": "web", "Driver": "bridge", "Scope": "local"}])
    assert sampan("network", "ls").out == (
        "NETWORK ID     NAME      DRIVER    SCOPE\n4f53cda18c2b   web       bridge    local\n"
    )


def test_drivers(daemon: Daemon, sampan: Sampan) -> None:
    found = [
        {"family": "storage", "name": "vfs", "package": "sampan", "version": "1", "usable": True, "reason": "",
         "default": True},
        {"family": "network", "name": "odd", "package": "odd", "version": "2", "usable": False, "reason": "no luck",
         "default": False},
    ]  # fmt: skip
    daemon.on("GET /sampan/drivers", found)
    assert sampan("drivers").out == (
        "FAMILY    DRIVER    DEFAULT   USABLE    PACKAGE    REMARK\n"
        "storage   vfs       *         yes       sampan 1   \n"
        "network   odd                 no        odd 2      no luck\n"
    )
    assert json.loads(sampan("drivers", "--format", "json").out) == found


def test_events_are_lines(daemon: Daemon, sampan: Sampan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    event = {"Type": "container", "Action": "die", "Actor": {"ID": ID, "Attributes": {"exitCode": "1", "a": "b"}},
             "time": 1, "timeNano": 1_000_000_005}  # fmt: skip
    daemon.on("GET /events", Answer(body=[json.dumps(event).encode() + b"\n"]))
    assert sampan("events", "--since", "1h").out == (
        f"1970-01-01T00:00:01.000000005+00:00 container die {ID} (a=b, exitCode=1)\n"
    )
    assert abs(float(daemon.requests[0].query["since"][0]) - (time.time() - 3600)) < 30


def test_version_shows_both_sides(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("GET /version", {"Version": "0.1.0", "ApiVersion": "1.50", "Components": []})
    result = sampan("version")
    assert "Client:" in result.out
    assert "Server:" in result.out
    assert sampan("version", "-f", "{{.Server.Version}}").out == "0.1.0\n"


def test_port(daemon: Daemon, sampan: Sampan) -> None:
    published = {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "1/udp": None,
    }
    daemon.on("GET /containers/web/json", {"NetworkSettings": {"Ports": published}})
    assert sampan("port", "web").out == "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n"
    assert sampan("port", "web", "80").out == "0.0.0.0:8080\n[::]:8080\n"
    assert sampan("port", "web", "1/udp").err == "sampan: no public port '1/udp' published for web\n"


def test_top(daemon: Daemon, sampan: Sampan) -> None:
    daemon.on("GET /containers/web/top", {"Titles": ["PID", "CMD"], "Processes": [["1", "sleep 1"]]})
    assert sampan("top", "web", "-o", "pid,cmd").out == "PID       CMD\n1         sleep 1\n"
    assert daemon.requests[0].query["ps_args"] == ["-o pid,cmd"]


def test_what_is_not_built_is_said(daemon: Daemon, sampan: Sampan) -> None:
    assert sampan("diff", "web") == Result(1, "", "sampan: GET /containers/web/changes is not built\n")


def test_an_older_engine_is_spoken_to_in_its_version(daemon: Daemon, sampan: Sampan) -> None:
    def choosy(request: Request) -> Answer:
        if len(daemon.requests) == 1:
            text = "client version 1.50 is too new. Maximum supported API version is 1.41"
            return Answer(400, {"message": text})
        return Answer(body=[])

    daemon.on("GET /containers/json", choosy)
    assert sampan("ps").code == 0

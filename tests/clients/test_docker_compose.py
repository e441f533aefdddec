"""docker-compose 1.29, which Debian still ships: a project of two services on a network of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import lacking
from harness import Engine, Result
from harness.net import INSIDE

pytestmark = pytest.mark.root

PROJECT = """
version: "3.7"
services:
  web:
    image: {image}
    command: ["sh", "-c", "echo aboard >/tmp/index.html && exec busybox httpd -f -p 80 -h /tmp"]
    ports: ["8095:80"]
    networks:
      default: {{aliases: [site]}}
      back: {{ipv4_address: 10.87.0.9}}
  watch:
    image: {image}
    command: ["sleep", "1000"]
    depends_on: [web]
networks:
  back:
    internal: true
    ipam: {{config: [{{subnet: 10.87.0.0/24}}]}}
"""
GET = ["busybox", "timeout", "5", "busybox", "wget", "-q", "-O", "-"]


class Project:
    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine = engine
        self.file = directory / "docker-compose.yml"
        self.file.write_text(PROJECT.format(image=engine.image()))

    def compose(self, *words: object) -> Result:
        name = ["--project-name", "harbour", "--file", self.file, "--no-ansi"]
        return self.engine.run("docker-compose", *name, *words, timeout=90)


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Iterator[Project]:
    if shutil.which("docker-compose") is None:
        lacking("docker-compose is not installed")
    project = Project(engine, tmp_path)
    before = engine.leftovers()
    yield project
    project.compose("down", "--timeout", "0").ok()
    engine.assert_as_before(before)


def test_a_project_of_two_services_comes_up_talks_and_goes_down(project: Project, engine: Engine) -> None:
    project.compose("up", "-d").ok()
    told = project.compose("ps").out
    assert told.count("Up") == 2
    assert "0.0.0.0:8095->80/tcp" in told
    all_names = "for name in web site harbour_web_1; do busybox wget -q -O - http://$name/; done"
    assert project.compose("exec", "-T", "watch", "sh", "-c", all_names).out.split() == ["aboard"] * 3
    assert engine.outside(*GET, f"http://{INSIDE}:8095/").out == "aboard"
    assert "10.87.0.9" in engine.docker("exec", "harbour_web_1", "cat", "/etc/hosts").out
    # What has not changed is left alone, and what is made anew is found under its old name.
    assert "up-to-date" in project.compose("up", "-d").stderr
    project.compose("up", "-d", "--force-recreate", "--no-deps", "--timeout", "0", "web").ok()
    assert project.compose("exec", "-T", "watch", *GET, "http://web/").out == "aboard"
    project.compose("down", "--timeout", "0").ok()
    assert engine.docker("network", "ls", "--filter", "name=harbour", "-q").out == ""

"""``--format`` does what Go's templates do."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.cli.failures import Failure
from sampan.cli.template import Template

DATA: dict[str, Any] = {
    "Id": "4f53cda18c2baa0c",
    "Name": "/web",
    "State": {"Status": "running", "Pid": 42, "OOMKilled": False},
    "Config": {"Env": ["A=1", "B=2"], "Labels": {"a.b": "x", "c": "y"}, "Cmd": None, "Empty": []},
    "Ports": {"443/tcp": None, "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
    "Label": lambda key: {"a": "1"}.get(key, ""),
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("{{.State.Status}} {{.State.Pid}} {{.State.OOMKilled}}", "running 42 false"),
        ("{{ .Name }}", "/web"),
        ("{{json .State}}", '{"Status":"running","Pid":42,"OOMKilled":false}'),
        ("{{.State | json}}", '{"Status":"running","Pid":42,"OOMKilled":false}'),
        ("{{.Config.Cmd}}", "<no value>"),
        ("{{.Config.Env}}", "[A=1 B=2]"),
        ("{{.Config.Labels}}", "map[a.b:x c:y]"),
        ('{{index .Config.Labels "a.b"}}', "x"),
        ('{{index .Config.Labels "no"}}', ""),
        ("{{index .Config.Env 1}}", "B=2"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{with index .Ports "80/tcp"}}{{len .}}{{end}}', "1"),
        ("{{range .Config.Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
        ("{{range $i, $e := .Config.Env}}{{$i}}={{$e}};{{end}}", "0=A=1;1=B=2;"),
        ("{{range $port, $at := .Ports}}{{$port}}{{if $at}} at {{(index $at 0).HostPort}}{{end}}\n{{end}}",
         "443/tcp\n80/tcp at 8080\n"),
        ("{{range .Config.Empty}}x{{else}}none{{end}}", "none"),
        ("{{if .State.OOMKilled}}a{{else if eq .State.Pid 42}}b{{else}}c{{end}}", "b"),
        ("{{if and .State.Pid (not .State.OOMKilled)}}yes{{end}}", "yes"),
        ("{{$p := .State.Pid}}{{$p}}{{$p}}", "4242"),
        ('{{join .Config.Env ","}}', "A=1,B=2"),
        ('{{join (split "a:b" ":") "-"}}', "a-b"),
        ('{{printf "%.4s|%5d|%-3s|%q" .Id 7 "x" "y"}}', '4f53|    7|x  |"y"'),
        ("{{upper .Name}}{{lower `ABC`}}", "/WEBabc"),
        ("a {{- .Name -}} b", "a/webb"),
        ("{{/* nothing */}}x", "x"),
        ('{{.Label "a"}}', "1"),
        ("{{println .State.Pid}}", "42\n"),
        ("{{slice .Id 0 4}}", "4f53"),
        ("{{range .Config.Env}}{{$.Name}}{{end}}", "/web/web"),
        ("{{true}} {{nil}} {{-3}}", "true <no value> -3"),
    ],
)  # fmt: skip
def test_executes(text: str, wanted: str) -> None:
    assert Template(text).execute(DATA) == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{.Nope}}", "there is no Nope in .Nope"),
        ("{{.State.Pid.X}}", "42 has no field X"),
        ("{{nope .}}", 'function "nope" is not defined'),
        ("{{.State", "a }} is missing"),
        ("{{if .State}}x", "an {{end}} is missing"),
        ("{{end}}", "{{end}} without a beginning"),
        ("{{}}", "an action is empty"),
        ("{{(.State}}", "a ) is missing"),
        ("{{$x}}", "variable $x is not defined"),
        ("{{index .Config.Env 9}}", "index 9 is out of range"),
        ("{{.State % 2}}", "% 2 is not understood"),
        ("{{range .State.Pid}}{{end}}", "range cannot go over 42"),
        ("{{.Name 1}}", "/web takes no arguments"),
        ("{{len}}", "missing 1 required positional argument"),
        ("{{printf \"%d\" .Name}}", "a real number is required"),
    ],
)  # fmt: skip
def test_says_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(Failure) as caught:
        Template(text).execute(DATA)
    assert why in caught.value.message
    assert caught.value.code == 64

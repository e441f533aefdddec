"""``--change`` instructions mean what they mean in a Dockerfile."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.errors import Invalid
from sampan.images.changes import apply, duration

CHANGES: list[tuple[list[str], dict[str, Any]]] = [
    (['CMD ["a", "b c"]'], {"Cmd": ["a", "b c"]}),
    (["CMD a b  c"], {"Cmd": ["/bin/sh", "-c", "a b  c"]}),
    (["cmd []"], {"Cmd": []}),
    (['ENTRYPOINT ["/x"]'], {"Entrypoint": ["/x"]}),
    (["CMD a", "ENTRYPOINT b"], {"Cmd": ["/bin/sh", "-c", "a"], "Entrypoint": ["/bin/sh", "-c", "b"]}),
    (["CMD", "ENTRYPOINT"], {"Cmd": [], "Entrypoint": []}),
    (['SHELL ["/bin/bash", "-ec"]', "CMD a"], {"Shell": ["/bin/bash", "-ec"], "Cmd": ["/bin/bash", "-ec", "a"]}),
    (["ENV A=1 B='2 3' C=4\\ 5"], {"Env": ["A=1", "B=2 3", "C=4 5"]}),
    (["ENV A one two"], {"Env": ["A=one two"]}),
    (["ENV A 'one'  $B"], {"Env": ["A=one  "]}),
    (["ENV\tA=1   B=2"], {"Env": ["A=1", "B=2"]}),
    (["ENV A=1 B=$A", "ENV A=$A:2"], {"Env": ["A=1:2", "B="]}),
    (["ENV X=1", "ENV a='$X' b=\"$X\" c=$X/${X}y d=\\$X e=\"\\$X\" f=$1 g=$ h='\"' i=\"'\" j=$X-"],
     {"Env": ["X=1", "a=$X", "b=1", "c=1/1y", "d=$X", "e=$X", "f=", "g=$", 'h="', "i='", "j=1-"]}),
    (["ENV X=1 N=", "ENV a=${X:+set} b=${Y:-de$X} c=${N:-e} d=${N-e} e=${Y-'f g'} f=${N+h} g=${Y+h} h=${X:?no}"],
     {"Env": ["X=1", "N=", "a=set", "b=de1", "c=e", "d=", "e=f g", "f=h", "g=", "h=1"]}),
    (["ENV P=80 L='81 82'", "EXPOSE $P/udp $L", "USER u$P", "WORKDIR /w/$P", "STOPSIGNAL $P", "CMD $P",
      'VOLUME ["/v$P"]', "VOLUME /$L", 'LABEL "a b"=$P c$P=d'],
     {"Env": ["P=80", "L=81 82"], "ExposedPorts": {"80/udp": {}, "81/tcp": {}, "82/tcp": {}}, "User": "u80",
      "WorkingDir": "/w/80", "StopSignal": "80", "Cmd": ["/bin/sh", "-c", "$P"], "Volumes": {"/v80": {}, "/81 82": {}},
      "Labels": {"a b": "80", "c80": "d"}}),
    (["ENV A=1 B=2", "ENV A=3"], {"Env": ["A=3", "B=2"]}),
    (['LABEL a=1 "b c"=d', "LABEL a=2"], {"Labels": {"a": "2", "b c": "d"}}),
    (["EXPOSE 80 53/UDP 8000-8002"],
     {"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}}}),
    (["USER nobody:nogroup"], {"User": "nobody:nogroup"}),
    (["WORKDIR /a", "WORKDIR b/../c"], {"WorkingDir": "/a/c"}),
    (["VOLUME /a /b"], {"Volumes": {"/a": {}, "/b": {}}}),
    (['VOLUME ["/a b"]'], {"Volumes": {"/a b": {}}}),
    (["STOPSIGNAL SIGQUIT"], {"StopSignal": "SIGQUIT"}),
    (["ONBUILD RUN x", "ONBUILD COPY . ."], {"OnBuild": ["RUN x", "COPY . ."]}),
    (["HEALTHCHECK NONE"], {"Healthcheck": {"Test": ["NONE"]}}),
    (["HEALTHCHECK --interval=1m30s --retries=3 CMD curl x"],
     {"Healthcheck": {"Test": ["CMD-SHELL", "curl x"], "Interval": 90 * 10**9, "Retries": 3}}),
    (['HEALTHCHECK CMD ["a"]'], {"Healthcheck": {"Test": ["CMD", "a"]}}),
    (["ENV A=1\nUSER x", "# a comment", " ", "CMD a \\\n b"],
     {"Env": ["A=1"], "User": "x", "Cmd": ["/bin/sh", "-c", "a  b"]}),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "config"), CHANGES)
def test_applies(changes: list[str], config: dict[str, Any]) -> None:
    assert apply({}, changes) == config


def test_changes_a_copy() -> None:
    before = {"Env": ["A=1"], "Labels": {"a": "1"}}
    assert apply(before, ["ENV B=2", "LABEL b=2"]) == {"Env": ["A=1", "B=2"], "Labels": {"a": "1", "b": "2"}}
    assert before == {"Env": ["A=1"], "Labels": {"a": "1"}}


WRONG = [
    ("RUN x", "run is not a valid change command"),
    ("FROM x", "from is not a valid change command"),
    ("ENV", "ENV requires at least one argument"),
    ("WORKDIR", "WORKDIR requires exactly one argument"),
    ('CMD ["x", 1]', "arrays must be comprised of strings only"),
    ("ENV A", "must have two arguments"),
    ("ENV A=1 B", 'can\'t find = in "B"'),
    ("ENV =1", "ENV names can not be blank"),
    ('ENV A="1', "looking for matching double-quote"),
    ("USER it's", "looking for matching single-quote"),
    ("ENV A=${", "bad substitution"),
    ("ENV A=${B", "unsupported modifier"),
    ("ENV A=${B%c}", "unsupported modifier"),
    ("ENV A=${B:-c", "missing '}'"),
    ("ENV A=" + "${B:-" * 100_000, "too deep into itself"),
    ("CMD " + "[" * 100_000, "too deep into itself"),
    ("ENV A=${B:?is needed}", "is needed"),
    ("EXPOSE 0", "invalid containerPort: 0"),
    ("EXPOSE 70000", "invalid containerPort: 70000"),
    ("EXPOSE 80/icmp", "invalid containerPort: 80/icmp"),
    ("EXPOSE 90-80", "invalid containerPort: 90-80"),
    ('VOLUME [""]', "can not be an empty string"),
    ("SHELL bash", "requires the JSON form"),
    ("ONBUILD FROM x", "isn't allowed as an ONBUILD trigger"),
    ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
    ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
    ("HEALTHCHECK --interval=1us CMD x", 'Interval "interval" cannot be less than 1ms'),
    ("HEALTHCHECK maybe", 'Unknown type "maybe"'),
    ("HEALTHCHECK --often=1s CMD x", "Unknown flag: --often"),
    ("HEALTHCHECK --interval=soon CMD x", '"soon" is not a duration'),
    ("HEALTHCHECK --retries=-1 CMD x", "--retries must be a number"),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG)
def test_refuses(change: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        apply({}, [change])


@pytest.mark.parametrize(
    ("text", "nanoseconds"), [("1h", 3600 * 10**9), ("1.5s", 1_500_000_000), ("10ms5us", 10_005_000)]
)
def test_reads_durations(text: str, nanoseconds: int) -> None:
    assert duration(text) == nanoseconds

"""From a bundle to a running init, to its exit code; and what cannot be started."""

from __future__ import annotations

import marshal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sampan.drivers import RuntimeDriver
from sampan.drivers.types import CONTRACT_VERSION, Host, RuntimeFeatures
from sampan.errors import StartFailed
from sampan.testing.runtime.base import Base, in_a_world
from sampan.testing.runtime.containers import Containers
from sampan.testing.runtime.spec import PATH, command


class StartTests(Base):
    def test_it_is_written_for_this_contract(self, driver: RuntimeDriver) -> None:
        assert driver.contract == CONTRACT_VERSION

    def test_check_and_features_answer_and_make_nothing(self, driver: RuntimeDriver, host: Host) -> None:
        first = driver.check()
        assert first.usable or first.reason, "what is missing is said in a sentence"
        assert driver.check() == first
        assert driver.features() == driver.features()
        assert not host.data_root.exists()
        assert not host.exec_root.exists()

    def test_every_feature_that_is_off_has_its_reason(self, features: RuntimeFeatures) -> None:
        off = {
            name
            for name in ("exec", "pause", "update", "stats", "tty", "join_namespaces")
            if not getattr(features, name)
        }
        assert off <= set(features.why)
        assert all(not getattr(features, name) for name in features.why)

    @pytest.mark.parametrize("terminal", [False, True])
    def test_an_order_travels_and_says_whether_there_is_a_terminal(
        self, containers: Containers, terminal: bool
    ) -> None:
        order = containers.driver.order(containers.bundle(command("true", process={"terminal": terminal})))
        assert marshal.loads(marshal.dumps(dict(order), 4)) == dict(order)  # noqa: S302 - we wrote it
        assert order["terminal"] is terminal

    def test_what_is_usual_travels_and_makes_nothing(self, containers: Containers) -> None:
        before = containers.traces()
        usual = containers.driver.usual(command("true"))
        assert containers.traces() == before
        assert marshal.loads(marshal.dumps(usual, 4)) == usual  # noqa: S302 - we wrote it

    def test_an_order_makes_nothing_in_the_kernel(self, containers: Containers) -> None:
        before = containers.traces()
        bundle = containers.bundle(command("true"))
        containers.driver.order(bundle)
        assert containers.traces() == before
        assert list((bundle.path / "rootfs").iterdir()) == []

    @pytest.mark.parametrize("code", [0, 1, 3, 255])
    def test_the_exit_code_comes_back(self, containers: Containers, code: int) -> None:
        assert containers.run(command("sh", "-c", f"exit {code}")).code == code

    def test_a_death_by_signal_comes_back_as_a_shell_tells_it(self, containers: Containers) -> None:
        running = containers.start(command("sleep", "1000"))
        containers.kill(running)
        assert running.finish().code == 137

    def test_the_pid_is_the_inits_as_the_host_sees_it(self, containers: Containers) -> None:
        running = containers.start(command("sleep", "1000"))
        assert Path(f"/proc/{running.pid}/cmdline").read_bytes() == b"sleep\0" + b"1000\0"

    def test_the_program_is_found_by_the_path_of_the_containers_environment(self, containers: Containers) -> None:
        root = containers.root()
        (root / "opt").mkdir()
        (root / "opt" / "greet").write_text("#!/bin/sh\necho hello from $0\n")
        (root / "opt" / "greet").chmod(0o755)
        outcome = containers.run(command("greet", process={"env": ["PATH=/nowhere:/opt:/bin"]}), root=root)
        assert (outcome.out, outcome.code) == ("hello from /opt/greet\n", 0)

    @pytest.mark.parametrize(
        ("args", "code"),
        [
            (["no-such-program"], 127),
            (["/no/such/program"], 127),
            (["/etc/passwd/program"], 127),
            (["/tmp/wrong-interpreter"], 127),
            (["/etc"], 126),
            (["/etc/passwd"], 126),
            (["/tmp/not-a-program"], 126),
        ],
        ids=lambda value: value[0] if isinstance(value, list) else str(value),
    )
    def test_what_cannot_be_executed_fails_with_the_shells_code_and_leaves_nothing(
        self, containers: Containers, args: list[str], code: int
    ) -> None:
        root = containers.root()
        for name, content in (("wrong-interpreter", "#!/no/such/interpreter\n"), ("not-a-program", "\0\1\2")):
            (root / "tmp" / name).write_text(content)
            (root / "tmp" / name).chmod(0o755)
        before = containers.traces()
        with pytest.raises(StartFailed) as failure:
            containers.start(command(*args), root=root)
        assert failure.value.exit_code == code
        assert args[0] in failure.value.message
        containers.assert_traces(before)

    @in_a_world
    @pytest.mark.parametrize("what", ["bind", "namespace", "limit"])
    def test_a_world_that_cannot_be_made_fails_with_128_and_leaves_nothing(
        self, containers: Containers, features: RuntimeFeatures, what: str
    ) -> None:
        spec = command("true")
        if what == "bind":
            spec["mounts"].append({"destination": "/data", "source": "/no/such/file", "options": ["rbind"]})
        elif what == "namespace":
            spec["linux"]["namespaces"] = [each for each in spec["linux"]["namespaces"] if each["type"] != "network"]
            spec["linux"]["namespaces"].append({"type": "network", "path": "/no/such/namespace"})
        else:
            spec["linux"]["resources"]["cpu"] = {"cpus": "999999"}
        before = containers.traces()
        with pytest.raises(StartFailed) as failure:
            containers.start(spec)
        assert failure.value.exit_code == 128
        assert len(failure.value.message.splitlines()) == 1, "one sentence"
        containers.assert_traces(before)

    def test_environment_and_arguments_arrive_as_they_were_given(self, containers: Containers) -> None:
        odd = ["A=1", "EMPTY=", "SPACE=a b", "EQUALS=a=b", "LINES=a\nb", "ÜMLAUT=ü", "BYTES=\udcff"]
        outcome = containers.run(command("env", "-0", process={"env": [PATH, "HOME=/", *odd]}))
        # What is not UTF-8 was replaced when the test decoded it.
        expected = [PATH, "HOME=/", *odd[:-1], "BYTES=\ufffd"]
        assert sorted(outcome.out.rstrip("\0").split("\0")) == sorted(expected)
        outcome = containers.run(command("printf", "[%s]", "", "a b", "*", "$HOME", "ü"))
        assert outcome.out == "[][a b][*][$HOME][ü]"

    def test_nothing_of_the_engines_environment_gets_in(
        self, containers: Containers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outcome = containers.run(command("env"))
        assert {line.partition("=")[0] for line in outcome.out.splitlines()} <= {"PATH", "HOME"}

    def test_the_working_directory_is_entered(self, containers: Containers) -> None:
        assert containers.run(command("pwd", process={"cwd": "/tmp"})).out == "/tmp\n"

    def test_many_start_and_end_at_once(self, containers: Containers) -> None:
        root = containers.root()

        def run(number: int) -> tuple[str, int]:
            outcome = containers.run(command("sh", "-c", f"echo {number}; exit {number}"), root=root)
            return outcome.out, outcome.code

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(run, range(24))) == [(f"{number}\n", number) for number in range(24)]

"""The commands that run a stack, against the Linux kernel in the stack's own namespace."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import abandoned_namespaces, run, start, wait_for_line
from ustack.observe.pcapng import read_capture

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("device")]

QUIET_END = {signal.SIGINT: 128 + signal.SIGINT, signal.SIGTERM: 128 + signal.SIGTERM}


@pytest.fixture(scope="class")
def serving(runtime_directory: Path) -> Iterator[subprocess.Popen[str]]:
    """`ustack serve` with every service, on a directory with one file."""
    (runtime_directory / "hello.txt").write_text("hello\n")
    services = ("--http", "--echo", "--discard", "--chargen", "--daytime")
    with start("serve", *services, "--directory", str(runtime_directory)) as process:
        wait_for_line(process, "serving until Ctrl-C")
        yield process
        process.terminate()
        process.communicate()


@pytest.mark.parametrize("number", QUIET_END)
def test_a_signal_ends_serve_without_a_traceback_and_with_its_namespace_gone(number: signal.Signals) -> None:
    before = abandoned_namespaces()
    with start("serve") as process:
        wait_for_line(process, "serving until Ctrl-C")
        process.send_signal(number)
        output, complaints = process.communicate()
    assert (process.returncode, output, complaints) == (QUIET_END[number], "", "")
    assert abandoned_namespaces() == before


@pytest.mark.usefixtures("serving")
class TestWithServe:
    """While `ustack serve` runs."""

    @pytest.mark.parametrize("host", ["10.9.0.2", "[fd09::2]"])
    def test_curl_in_the_namespace_fetches_a_file(self, host: str) -> None:
        result = run("ns", "--", "curl", "-sS", "--max-time", "20", "--noproxy", "*", f"http://{host}/hello.txt")
        assert (result.returncode, result.stdout) == (0, "hello\n")

    @pytest.mark.parametrize("host", ["10.9.0.2", "fd09::2"])
    def test_nc_on_a_second_stack_gets_its_words_back(self, host: str) -> None:
        result = run("nc", host, "7", input="one\ntwo\n")
        assert (result.returncode, result.stdout) == (0, "one\ntwo\n")

    def test_nc_gets_its_datagram_back(self) -> None:
        result = run("nc", "-u", "-w", "0.5", "10.9.0.2", "7", input="hello")
        assert (result.returncode, result.stdout) == (0, "hello")

    def test_daytime_is_a_line(self) -> None:
        result = run("nc", "10.9.0.2", "13")
        assert result.returncode == 0
        assert result.stdout.count("\n") == 1

    def test_chargen_goes_on_until_its_reader_has_enough(self) -> None:
        script = "exec 3<>/dev/tcp/10.9.0.2/19; head -c 100000 <&3 | tail -c 10 | wc -c"
        result = run("ns", "--", "bash", "-c", script)
        assert (result.returncode, result.stdout.strip()) == (0, "10")

    def test_nc_to_a_closed_port_is_refused_in_one_line(self) -> None:
        result = run("nc", "10.9.0.2", "99")
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1] == "ustack: Connection refused"

    def test_the_namespace_of_ns_is_the_servers_own(self) -> None:
        result = run("ns", "--", "cat", "/proc/net/dev")
        assert [line.partition(":")[0].strip() for line in result.stdout.splitlines()[2:]] == ["lo", "tun0"]

    def test_ss_shows_every_socket_for_programs(self) -> None:
        (stack,) = json.loads(run("ss", "--json").stdout)
        assert (stack["command"], stack["addresses"]) == ("serve", ["10.9.0.2", "fd09::2"])
        listening = {row["local_port"] for row in stack["sockets"] if row["state"] == "LISTEN"}
        assert listening == {7, 9, 13, 19, 80}

    def test_ss_shows_a_table_and_a_line_for_each_connection(self) -> None:
        script = "exec 3<>/dev/tcp/10.9.0.2/7; echo connected >&2; read"
        with start("ns", "--", "bash", "-c", script) as client:
            wait_for_line(client, "connected")
            output = run("ss", "--info").stdout
            client.communicate("")
        assert "ESTABLISHED" in output
        assert "keepalive in " not in output
        assert "10.9.0.2:7 ↔ 10.9.0.1:" in output
        assert " cwnd " in output

    def test_drops_counts_a_refused_connection_with_its_clause(self) -> None:
        run("nc", "10.9.0.2", "99")
        (stack,) = json.loads(run("drops", "--json").stdout)
        (row,) = (row for row in stack["drops"] if row["reason"] == "TCP_NO_CONNECTION")
        assert row["count"] >= 1
        assert row["clause"] == "RFC 9293 §3.10.7.1"

    def test_ping_reaches_the_other_stack_through_the_kernel(self) -> None:
        result = run("ping", "--json", "-c", "2", "-i", "0.01", "-s", "3000", "fd09::2")
        report = json.loads(result.stdout)
        assert (result.returncode, report["sent"], len(report["answers"])) == (0, 2, 2)

    def test_ping_tells_of_an_unreachable_network(self) -> None:
        result = run("ping", "-c", "1", "192.0.2.1")
        assert result.returncode == 1
        assert "192.0.2.1: destination unreachable" in result.stdout


@pytest.mark.parametrize("destination", ["10.9.0.1", "fd09::1", "127.0.0.1", "::1"])
def test_ping_reaches_the_kernel_and_the_stack_itself(destination: str) -> None:
    result = run("ping", "-c", "2", "-i", "0.01", destination)
    assert result.returncode == 0
    assert "2 sent, 2 answered, 0% lost" in result.stdout


def test_ping_without_an_answer_is_status_1() -> None:
    result = run("ping", "-c", "1", "-W", "0.1", "10.9.0.77")
    assert result.returncode == 1
    assert "1 sent, 0 answered, 100% lost" in result.stdout


def test_ctrl_c_ends_a_long_ping_with_its_summary() -> None:
    with start("ping", "-c", "0", "-i", "0.01") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    assert process.returncode == 0
    assert ", 0% lost" in output


def test_ns_without_a_running_stack_has_one_that_answers() -> None:
    result = run("ns", "--", "ping", "-c", "1", "-W", "5", "10.9.0.2")
    assert result.returncode == 0


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -TERM $$", 128 + signal.SIGTERM)])
def test_the_status_of_ns_is_its_programs(script: str, status: int) -> None:
    assert run("ns", "--", "sh", "-c", script).returncode == status


def test_a_program_that_is_not_there_is_status_127() -> None:
    result = run("ns", "--", "no-such-program")
    assert result.returncode == 127
    assert result.stderr.splitlines()[-1] == "ustack: No such file or directory: no-such-program"


def test_nc_listens_and_a_kernel_client_gets_through() -> None:
    with start("nc", "-l", "7000") as listener:
        wait_for_line(listener, "listening on port 7000")
        client = run("ns", "--", "bash", "-c", "exec 3<>/dev/tcp/10.9.0.2/7000; echo question >&3")
        output, _ = listener.communicate()
    assert (client.returncode, listener.returncode, output) == (0, 0, "question\n")


def test_a_capture_has_every_packet_of_the_command(tmp_path: Path) -> None:
    path = tmp_path / "ping.pcapng"
    assert run("ping", "-c", "2", "-i", "0.01", "--capture", str(path)).returncode == 0
    with path.open("rb") as stream:
        packets = [packet for packet in read_capture(stream) if packet.packet[0] >> 4 == 4]
    assert [packet.outbound for packet in packets] == [True, False, True, False]


@pytest.mark.parametrize("options", [["--no-offload"], ["--no-fast-path"], ["--mtu", "1280"]])
def test_the_options_of_the_stack_are_taken(options: list[str]) -> None:
    assert run("ping", "-c", "1", "-s", "2000", *options).returncode == 0


def test_a_device_that_does_not_exist_is_never_made() -> None:
    result = run("ping", "--device", "nonesuch", "--address", "10.9.0.2/24")
    assert result.returncode == 1
    assert result.stderr == "ustack: there is no device nonesuch; make it with: ip tuntap add nonesuch mode tun\n"
    assert not Path("/sys/class/net/nonesuch").exists()

"""The commands of scripts: what they do to the machine, and that none reaches a shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packetdrill.writing import LISTEN, SERVER, fails, passes, unsupported, write
from ustack.config import StackConfig
from ustack.packetdrill.network_verbs import SimulatedShell as Shell
from ustack.packetdrill.problems import Failed, Unsupported
from ustack.packetdrill.runner import run_file
from ustack.packetdrill.settings import ADDRESSES, for_version
from ustack.packetdrill.shell import commands
from ustack.packetdrill.simulation import SimulatedMachine as Machine
from ustack.packetdrill.verdict import Result


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine(ADDRESSES[4], StackConfig(), 1500)
    yield made
    made.close()


@pytest.fixture
def shell(machine: Machine, tmp_path: Path) -> Shell:
    return Shell(machine, tmp_path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a b 'c d'", [(";", ["a", "b", "c d"], None)]),
        ("a; b && c || d", [(";", ["a"], None), (";", ["b"], None), ("&&", ["c"], None), ("||", ["d"], None)]),
        ("a | b", [(";", ["a"], None), ("|", ["b"], None)]),
        ("a \\\n b", [(";", ["a", "b"], None)]),
        ("a # b\nc", [(";", ["a"], None), (";", ["c"], None)]),
        ("a > /dev/null 2>&1", [(";", ["a"], "/dev/null")]),
        ("echo 3 > x", [(";", ["echo", "3"], "x")]),
        ('a="$((15*1024*1024)) x"', [(";", ["a=15728640 x"], None)]),
        ("a_${PPID}", [(";", ["a_7"], None)]),
        ("\n \n", []),
    ],
)
def test_a_text_is_cut_into_commands(text: str, found: list[object]) -> None:
    assert list(commands(text, {"PPID": "7"})) == found


@pytest.mark.parametrize("text", ["a $(b)", "a 'b", "a $((b))", "a $((1/0))"])
def test_what_only_a_shell_understands_is_unsupported(text: str) -> None:
    with pytest.raises(Unsupported):
        list(commands(text, {}))


def test_sysctl_changes_the_stack(machine: Machine, shell: Shell) -> None:
    shell.run("sysctl -q net.ipv4.tcp_sack=0 net/ipv4/tcp_timestamps=0")
    assert not machine.config.tcp.sack
    assert not machine.config.tcp.timestamps


def test_an_unknown_sysctl_is_unsupported_unless_it_may_be(shell: Shell) -> None:
    with pytest.raises(Unsupported, match=r"the sysctl net\.ipv4\.tcp_nonsense is not known"):
        shell.run("sysctl -q net.ipv4.tcp_nonsense=1")
    shell.run("sysctl -e -q net.ipv4.tcp_nonsense=1")


def test_a_wrong_value_fails_the_command(shell: Shell) -> None:
    with pytest.raises(Failed, match="the command has failed"):
        shell.run("sysctl -q net.ipv4.tcp_sack=x")
    with pytest.raises(Failed):
        shell.run("sysctl net.ipv4.tcp_congestion_control=nobody")


def test_sysctls_are_set_and_restored_by_the_suites_scripts(machine: Machine, shell: Shell) -> None:
    shell.run("../common/set_sysctls.py /proc/sys/net/ipv4/tcp_sack=0")
    assert not machine.config.tcp.sack
    shell.run("/some/where/sysctl_restore_${PPID}.sh")
    assert machine.config.tcp.sack


def test_the_defaults_script_is_known_where_it_is_not_there(machine: Machine, shell: Shell) -> None:
    shell.run("../common/defaults.sh")
    assert machine.config.tcp.syn_retries == 5
    assert machine.sysctl.get("net.ipv4.tcp_tso_win_divisor") == "3"


def test_the_defaults_script_is_read_where_it_is_there(machine: Machine, tmp_path: Path) -> None:
    write(
        tmp_path,
        "defaults.sh",
        "#!/bin/bash\n# words\nsysctl -q net.ipv4.tcp_syn_retries=$((1+1))\ntc qdisc add dev tun0 root pfifo\n",
    )
    Shell(machine, tmp_path).run("./defaults.sh")
    assert machine.config.tcp.syn_retries == 2


def test_lists_go_on_by_success(machine: Machine, shell: Shell) -> None:
    shell.run("false || sysctl -q net.ipv4.tcp_syn_retries=2 && sysctl -q net.ipv4.tcp_synack_retries=3")
    shell.run("false && sysctl -q net.ipv4.tcp_syn_retries=9; true")
    assert (machine.config.tcp.syn_retries, machine.config.tcp.synack_retries) == (2, 3)


def test_ethtool_takes_the_device_its_segmentation(machine: Machine, shell: Shell) -> None:
    before = machine.device.offload
    shell.run("ethtool -K tun0 tso off gso off")
    assert machine.device.offload != before
    shell.run("ethtool -K tun0 tso on gso on")
    assert machine.device.offload == before == machine.interface.offload


def test_a_queue_without_room_refuses_packets_until_it_has_room_again() -> None:
    no_room = "+0 `tc qdisc delete dev tun0 root 2>/dev/null ; tc qdisc add dev tun0 root pfifo limit 0`\n"
    text = SERVER + no_room + "+0 write(4, ..., 10) = 10\n+.1 `true`\n"
    passes(text, strict=True)
    fails(text + "+0 > P. 1:11(10) ack 1", "Timed out waiting for packet")
    passes(text + "+0 `tc qdisc replace dev tun0 root pfifo`\n* > P. 1:11(10) ack 1")


def test_a_link_gets_another_mtu() -> None:
    passes(
        "`ip link set dev tun0 mtu 1000`\n" + LISTEN + "+0 < S 0:0(0) win 1 <mss 1000>\n+0 > S. 0:0(0) ack 1 <mss 960>"
    )


def test_a_route_has_metrics(machine: Machine, shell: Shell) -> None:
    shell.run("ip route change 192.0.2.1 via 192.168.0.2 dev tun0 advmss 1000 mtu lock 1400 initcwnd 4 features ecn")
    shell.run("ip route change 192.0.2.1 via 192.168.0.2 dev tun0 advmss 1000 mtu lock 1400 initcwnd 4 features ecn")
    routes = [route for route in machine.host.stack.ip.routes.routes() if route.prefix.length == 32]
    found = [route.metrics for route in routes if route.metrics.advmss]
    assert len(found) == 1
    assert (found[0].mtu, found[0].mtu_locked, found[0].initcwnd, found[0].ecn) == (1400, True, 4, True)


@pytest.mark.parametrize(
    "text",
    [
        "curl http://x", "bash -c true", "ip route change 1.2.3.4 nonsense 5", "ip address add 1.2.3.4/5 dev tun0",
        "tc filter add", "ethtool -S tun0", "dd if=/dev/sda of=x", "grep x /etc/passwd", "grep", "[ -d x ]",
        "ip link set dev tun0 up down",
    ],
)  # fmt: skip
def test_everything_else_is_unsupported(text: str, shell: Shell) -> None:
    with pytest.raises(Unsupported):
        shell.run(text)


def test_no_command_is_ever_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    script = write(tmp_path, "x.pkt", f"0 `touch {witness}`")
    assert run_file(script, for_version(4)).result is Result.UNSUPPORTED
    write(tmp_path, "defaults.sh", f"touch {witness}")
    assert run_file(write(tmp_path, "y.pkt", "0 `./defaults.sh`"), for_version(4)).result is Result.UNSUPPORTED
    assert not witness.exists()


def test_files_are_the_machine_s_own(machine: Machine, shell: Shell, tmp_path: Path) -> None:
    name = tmp_path / "file"
    shell.run(f"dd bs=1k count=2 if=/dev/zero of={name}")
    assert machine.files[str(name)] == bytes(2048)
    shell.run(f"[ -f {name} ] && rm -f {name}")
    assert machine.files == {}
    assert not name.exists()


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("[ a = a ]", True),
        ("[ a = b ]", False),
        ("test a != b", True),
        ("[ -n x ]", True),
        ("[ -z x ]", False),
        ("true", True),
        ("exit 1", False),
        ("exit 0", True),
    ],
)
def test_simple_tests_have_a_truth_value(text: str, good: bool, shell: Shell) -> None:
    if good:
        shell.run(text)
    else:
        with pytest.raises(Failed):
            shell.run(text)


def test_echo_writes_a_sysctl_and_a_file(machine: Machine, shell: Shell) -> None:
    shell.run("echo 0 > /proc/sys/net/ipv4/tcp_sack")
    assert not machine.config.tcp.sack
    shell.run("echo hello > x")
    assert machine.files["x"] == b"hello\n"


def test_sleep_passes_virtual_time() -> None:
    passes("0 `sleep 2`\n2 `true`")


def test_the_table_of_sockets_shows_listeners() -> None:
    passes(LISTEN + '+0 `grep " 0A " /proc/net/tcp /proc/net/tcp6 | grep ":1F90"`')
    fails('0 `grep " 0A " /proc/net/tcp | grep ":1F90"`', "the command has failed")


def test_nstat_shows_what_has_changed() -> None:
    outside = "+0 < icmp unreachable [5000:6000(1000)]\n"
    text = SERVER + "+0 `nstat > /dev/null`\n" + outside + "+0 `nstat | grep TcpExtOutOfWindowIcmps > /dev/null`\n"
    passes(text)
    fails(text.replace(outside, ""), "the command has failed")


def test_a_command_that_fails_is_told_by_its_line() -> None:
    fails("0 `true`\n+0 `false`", "the command has failed: false", 2)
    unsupported("\n`nonsense`\n0 `true`", "the command nonsense is not known")

"""What the commands of scripts can ask of the machine: sysctl, the suites' helper scripts, files, simple tests.

A verb takes its words and returns whether it has succeeded.  Nothing outside of the machine is touched: files are the
machine's own, and the suites' helper scripts are read, not run.  Commands about the network are in `network_verbs`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from ustack.packetdrill.machine import Machine
from ustack.packetdrill.problems import Failed, Unsupported
from ustack.packetdrill.shell import commands
from ustack.tcp.congestion import CONTROLLERS

_DEFAULTS = """
sysctl -q net.ipv4.tcp_rmem="4096 540000 15728640"
sysctl -q net.ipv4.tcp_wmem="4096 262144 4194304"
sysctl -q net.ipv4.tcp_timestamps=1
sysctl -q net.ipv4.tcp_syn_retries=5 net.ipv4.tcp_synack_retries=5
sysctl -q net.ipv4.tcp_frto=2 net.ipv4.tcp_sack=1 net.ipv4.tcp_dsack=1 net.ipv4.tcp_fack=0
sysctl -q net.ipv4.tcp_reordering=3
sysctl -q net.ipv4.tcp_congestion_control=cubic
sysctl -q net.ipv4.tcp_slow_start_after_idle=0
sysctl -q net.ipv4.tcp_early_retrans=4 net.ipv4.tcp_recovery=1
sysctl -q net.ipv4.tcp_tso_win_divisor=3
sysctl -q net.ipv4.tcp_ecn=0 net.ipv4.tcp_ecn_option=2
sysctl -q net.ipv4.tcp_pacing_ss_ratio=200 net.ipv4.tcp_pacing_ca_ratio=120
sysctl -q net.ipv4.tcp_notsent_lowat=4294967295
sysctl -q net.ipv4.tcp_fastopen=0x70403 net.ipv4.tcp_fastopen_key=a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4
sysctl -q net.ipv4.tcp_syncookies=1
"""
"""What the suites' defaults.sh stands for where it is not beside the script."""
NETWORK = frozenset(("ip", "ethtool", "tc", "nstat"))
_RESTORE = re.compile(r".*/sysctl_restore_.*\.sh")


class Shell(ABC):
    """Does what the commands of one script ask for: here is what needs no knowledge of the network."""

    def __init__(self, machine: Machine, directory: Path) -> None:
        self._machine = machine
        self._directory = directory
        self._restore: list[tuple[str, str]] = []

    @abstractmethod
    def _network(self, words: list[str], given: str) -> tuple[bool, str]:
        """A command about the network, whose name is in `NETWORK`."""

    @abstractmethod
    def _socket_table(self) -> str:
        """What /proc/net/tcp and /proc/net/tcp6 say."""

    def run(self, text: str) -> None:
        """Do a whole text.  Raises Unsupported, and Failed if its last command fails."""
        if not self._run_all(text):
            raise Failed(f"the command has failed: {text.strip()}")

    def _run_all(self, text: str) -> bool:
        good, output = True, ""
        for joint, words, target in commands(text, {"PPID": "1", "PACKETDRILL_PID": "1"}):
            if (joint == "&&" and not good) or (joint == "||" and good):
                continue
            good, output = self._command(words, output if joint == "|" else "")
            if target is not None and target != "/dev/null":
                self._write(target, output)
                output = ""
        return good

    def _command(self, words: list[str], given: str) -> tuple[bool, str]:
        """One command: whether it has succeeded, and what it prints."""
        name = words[0]
        if name.endswith("/defaults.sh") or name == "defaults.sh":
            return self._defaults(name), ""
        if _RESTORE.fullmatch(name):
            return self._restore_sysctls(), ""
        base = name.rpartition("/")[2]
        if base in NETWORK:
            return self._network([base, *words[1:]], given)
        printing = {"grep": self._grep, "echo": self._echo}.get(base)
        if printing is not None:
            return printing(words[1:], given)
        verb = self._verbs().get(base)
        if verb is None:
            raise Unsupported(f"the command {name} is not known")
        return verb(words[1:]), ""

    def _verbs(self) -> dict[str, Callable[[list[str]], bool]]:
        return {
            "sysctl": self._sysctl, "set_sysctls.py": self._set_sysctls,
            "true": _nothing, ":": _nothing, "false": lambda _: False,
            "sleep": self._sleep, "rm": self._remove, "dd": self._dd, "[": self._test, "test": self._test,
            "modprobe": _nothing, "exit": lambda words: not words or words[0] == "0", "set": _nothing,
        }  # fmt: skip

    # sysctl and the scripts around it.

    def _defaults(self, name: str) -> bool:
        path = self._directory / name
        return self._run_all(path.read_text(encoding="utf-8") if path.is_file() else _DEFAULTS)

    def _sysctl(self, words: list[str]) -> bool:
        good = True
        lenient = any(word.startswith("-") and "e" in word for word in words)
        for word in words:
            name, equals, value = word.partition("=")
            if not word.startswith("-") and equals:
                good &= self._set(name, value, lenient=lenient)
        return good

    def _set_sysctls(self, words: list[str]) -> bool:
        for word in words:
            name, _, value = word.partition("=")
            self._restore.append((name, self._get(name)))
            self._set(name, value, lenient=False)
        return True

    def _restore_sysctls(self) -> bool:
        while self._restore:
            self._set(*self._restore.pop(), lenient=False)
        return True

    def _get(self, name: str) -> str:
        try:
            return self._machine.sysctl.get(name)
        except KeyError:
            raise Unsupported(f"the sysctl {name} is not known") from None

    def _set(self, name: str, value: str, *, lenient: bool) -> bool:
        if name.endswith("tcp_congestion_control") and value not in CONTROLLERS:
            return False
        try:
            self._machine.sysctl.set(name, value)
        except KeyError:
            if lenient:
                return True
            raise Unsupported(f"the sysctl {name} is not known") from None
        except ValueError:
            return False
        return True

    # Files, which are the machine's own.

    def _write(self, name: str, text: str) -> None:
        if name.startswith(("/sys/", "/proc/sys/")):
            self._set(name, text, lenient=False)
        else:
            self._machine.files[name] = text.encode()

    def _echo(self, words: list[str], _: str) -> tuple[bool, str]:
        return True, " ".join(word for word in words if word not in ("-n", "-e")) + "\n"

    def _remove(self, words: list[str]) -> bool:
        for word in words:
            self._machine.files.pop(word, None)
        return True

    def _dd(self, words: list[str]) -> bool:
        given = dict(word.partition("=")[::2] for word in words)
        if given.get("if") != "/dev/zero" or "of" not in given:
            raise Unsupported("dd copies zeros to a file, nothing else")
        self._machine.files[given["of"]] = bytes(_size(given.get("bs", "512")) * int(given.get("count", "1")))
        return True

    def _test(self, words: list[str]) -> bool:
        """`[ a = b ]` and its like."""
        match [word for word in words if word != "]"]:
            case [left, "=" | "==", right]:
                return left == right
            case [left, "!=", right]:
                return left != right
            case ["-n", text]:
                return bool(text)
            case ["-z", text]:
                return not text
            case ["-f" | "-e" | "-x" | "-r", name]:
                return name in self._machine.files
        raise Unsupported(f"the test [ {' '.join(words)} is not known")

    def _grep(self, words: list[str], given: str) -> tuple[bool, str]:
        """Lines with a pattern, of the table of sockets or of what the command before has printed."""
        plain = [word for word in words if not word.startswith("-")]
        if not plain:
            raise Unsupported("grep without a pattern")
        text = given
        if len(plain) > 1:
            if any(name not in ("/proc/net/tcp", "/proc/net/tcp6") for name in plain[1:]):
                raise Unsupported(f"the file {plain[-1]} is not known")
            text = self._socket_table()
        found = [line for line in text.split("\n") if re.search(plain[0], line)]
        return bool(found), "\n".join(found)

    def _sleep(self, words: list[str]) -> bool:
        self._machine.run_until(self._machine.now + int(sum(float(word) for word in words) * 1e9))
        return True


def _nothing(_: list[str]) -> bool:
    return True


def _size(text: str) -> int:
    factor = {"k": 1 << 10, "K": 1 << 10, "M": 1 << 20}.get(text[-1:], 0)
    return int(text[:-1]) * factor if factor else int(text)

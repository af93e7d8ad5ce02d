"""The same scheme without root: user and network namespaces, tried as `nobody` where the tests run as root."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ustack.link import unshare

ROOT = Path(__file__).resolve().parents[2]
HELPER = ROOT / "tests" / "support" / "ordinary_user.py"
SECONDS = 60


def run_as_ordinary_user(code: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    if os.geteuid() == 0:
        command = [sys.executable, str(HELPER), str(directory), *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT, env=environment, check=False
    )


UNSHARE = "from ustack.link.unshare import *; unshare(CLONE_NEWUSER | CLONE_NEWNET)"


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Skips where an ordinary user can have no user namespace, or we can not become one."""
    directory = tmp_path_factory.mktemp("ordinary_user")
    tried = run_as_ordinary_user(UNSHARE, directory)
    if tried.returncode:
        pytest.skip(f"no user namespaces for ordinary users here: {tried.stderr.splitlines()[-1]}")
    return directory


INSIDE = """
import os, socket, subprocess
from ustack.burst import Burst
from ustack.link.namespace import Namespace

assert os.geteuid() != 0
before = os.readlink("/proc/self/ns/net"), os.listdir("/sys/class/net")
with Namespace() as namespace:
    assert namespace.rootless and namespace.name is None
    device = namespace.open_tun(routes=["0.0.0.0/0"])
    with namespace.open_socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", ("fd09::2", 7))
    burst = Burst()
    assert device.read(burst, 0) == 1 and bytes(burst.frame(0)).endswith(b"hello")
    program = namespace.run(["sh", "-c", "id -u; readlink /proc/self/ns/net"], stdout=subprocess.PIPE, text=True)
    user, inside = program.communicate(timeout=20)[0].split()
    assert user == "0" and inside != before[0]
    running = namespace.run(["sleep", "1000"])
    holder = namespace._holder
assert holder.returncode == 0 and running.returncode == -15
assert before == (os.readlink("/proc/self/ns/net"), os.listdir("/sys/class/net"))
device.close()
print("offload", device.offload)
"""


def test_an_ordinary_user_gets_a_namespace_with_a_device(directory: Path) -> None:
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("/dev/net/tun does not exist")
    result = run_as_ordinary_user(INSIDE, directory)
    assert result.stderr == ""
    assert result.stdout.startswith("offload ")


PROBE = """
import json
from ustack.link.probe import probe
print(json.dumps({finding.name: finding.ok for finding in probe()}))
"""


def test_the_probe_tells_an_ordinary_user_the_same(directory: Path) -> None:
    result = run_as_ordinary_user(PROBE, directory)
    assert result.stderr == ""
    findings = json.loads(result.stdout)
    assert findings["network namespace"]
    assert not findings["namespace name"]
    assert findings["TUN device"] == findings["TUN node"]


def test_a_refusal_of_both_ways_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise PermissionError(errno.EPERM, "refused")

    monkeypatch.setattr(unshare, "unshare", refuse)
    with pytest.raises(PermissionError):
        unshare.enter_new_network_namespace()

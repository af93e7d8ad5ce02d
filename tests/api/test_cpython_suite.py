"""CPython's own tests of the socket module, run on our sockets."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import support

RUNNER = Path(support.__path__[0]) / "cpython_suite.py"

STREAMS = (
    "BasicTCPTest", "NonBlockingTCPTests", "TCPTimeoutTest", "TCPCloserTest", "BufferIOTest", "ContextManagersTest",
    "NetworkConnectionNoServer", "NetworkConnectionAttributesTest", "NetworkConnectionBehaviourTest",
    "CreateServerTest", "CreateServerFunctionalTest", "InheritanceTest", "NonblockConstantTest", "TestExceptions",
)  # fmt: skip
FILES = (
    "FileObjectClassTestCase", "UnbufferedFileObjectClassTestCase", "LineBufferedFileObjectClassTestCase",
    "SmallBufferedFileObjectClassTestCase", "UnicodeReadFileObjectClassTestCase", "SendfileUsingSendTest",
)  # fmt: skip
DATAGRAMS = (
    "BasicUDPTest", "UDPTimeoutTest", "SendmsgUDPTest", "RecvmsgUDPTest", "RecvmsgIntoUDPTest", "SendmsgUDP6Test",
    "RecvmsgUDP6Test", "RecvmsgIntoUDP6Test",
)  # fmt: skip
MESSAGES = ("SendmsgTCPTest", "RecvmsgTCPTest", "RecvmsgIntoTCPTest", "GeneralModuleTests")

EXCLUDED = {
    # They want a socket module whose socket class can be replaced under create_connection's feet.
    "NetworkConnectionNoServer.test_create_connection_timeout",
    # They close the descriptor of a socket, or give it to another object, behind the socket's back.
    "GeneralModuleTests.testCloseException",
    "GeneralModuleTests.test_socket_close",
    "GeneralModuleTests.test_unknown_socket_family_repr",
    "TestExceptions.test_setblocking_invalidfd",
    # It wants the kernel to send the file.
    "GeneralModuleTests.test__sendfile_use_sendfile",
    # They ask the name service of the machine, or services of the network.
    "GeneralModuleTests.test_host_resolution",
    "GeneralModuleTests.test_host_resolution_bad_address",
    "GeneralModuleTests.test_idna",
    "GeneralModuleTests.test_getfqdn_filter_localhost",
    "GeneralModuleTests.testGetaddrinfo",
    "GeneralModuleTests.testHostnameRes",
    "GeneralModuleTests.test_getaddrinfo_int_port_overflow",
}


@pytest.mark.skipif(
    importlib.util.find_spec("test.test_socket") is None, reason="this Python came without its own test suite"
)
@pytest.mark.parametrize("classes", [STREAMS, FILES, DATAGRAMS, MESSAGES], ids=["streams", "files", "udp", "messages"])
def test_cpythons_own_tests_pass(classes):
    request = json.dumps({"classes": classes, "excluded": sorted(EXCLUDED)})
    done = subprocess.run(
        [sys.executable, str(RUNNER)], input=request, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert not result["failed"], "\n".join(result["failed"].values())
    assert result["run"] > 30

"""`from ustack import socket`: a module like Python's own."""

from __future__ import annotations

import importlib
import socket as stdlib
import subprocess
import sys
import types

import pytest

import ustack
from tests.support.hosts import CLIENT, SERVER, SERVER6, two_hosts
from tests.support.raising import raises_errno
from ustack import socket


def test_it_is_a_module_with_every_name_of_pythons():
    assert isinstance(socket, types.ModuleType)
    missing = [name for name in dir(stdlib) if not hasattr(socket, name)]
    assert not missing
    assert set(dir(stdlib)) <= set(dir(socket))


def test_names_that_we_do_not_override_are_pythons_own():
    ours = {"socket", "create_connection", "create_server", "fromfd", "has_dualstack_ipv6"}
    for name in set(stdlib.__all__) - ours:
        assert getattr(socket, name) is getattr(stdlib, name)
    for name in ours:
        assert getattr(socket, name) is not getattr(stdlib, name)


def test_a_star_import_gives_our_class():
    names: dict[str, object] = {}
    exec("from ustack.socket import *", names)
    assert names["socket"] is socket.socket
    assert names["AF_INET"] is stdlib.AF_INET


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError):
        socket.no_such_thing  # noqa: B018
    with pytest.raises(AttributeError):
        ustack.no_such_thing  # noqa: B018
    with pytest.raises(ImportError):
        importlib.import_module("ustack.no_such_thing")


def test_importing_the_package_loads_no_driver():
    script = "import sys, ustack; print([name for name in sys.modules if name.startswith('ustack.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_other_families_are_the_kernels():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        assert type(made) is stdlib.socket
    first, second = socket.socketpair()
    with first, second:
        assert type(first) is stdlib.socket
        with socket.socket(fileno=first.dup().detach()) as again:
            assert type(again) is stdlib.socket


def test_an_unknown_family_is_not_supported():
    with raises_errno(97):
        socket.socket(9999)


class OwnSocket(socket.socket):
    """A subclass with a constructor of its own."""

    def __init__(self, label: str) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.label = label


def test_a_subclass_may_have_a_constructor_and_attributes_of_its_own():
    with two_hosts() as (_, server, _), ustack.use(server), OwnSocket("mine") as made:
        assert made.label == "mine"
        made.bind((SERVER, 80))
        made.listen()


def test_create_server_listens_and_may_be_bound_again_at_once():
    with two_hosts() as (_, server, _), ustack.use(server):
        with socket.create_server((SERVER, 80)) as first:
            assert first.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
            assert first.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        socket.create_server((SERVER, 80), backlog=5).close()


def test_create_server_says_which_address_it_could_not_bind():
    with (
        two_hosts() as (_, server, _),
        ustack.use(server),
        pytest.raises(OSError, match=r"while attempting to bind on address \('192\.0\.2\.1', 80\)"),
    ):
        socket.create_server(("192.0.2.1", 80))


def test_create_server_shares_a_port_if_both_ask_for_it():
    with two_hosts() as (_, server, _), ustack.use(server):
        first = socket.create_server((SERVER, 80), reuse_port=True)
        second = socket.create_server((SERVER, 80), reuse_port=True)
        with first, second, raises_errno(98):
            socket.create_server((SERVER, 80))


@pytest.mark.parametrize("dualstack", [False, True])
def test_create_server_takes_ipv4_too_only_in_dual_mode(dualstack):
    with two_hosts() as (_, server, client):
        with ustack.use(server):
            listener = socket.create_server(("", 80), family=socket.AF_INET6, dualstack_ipv6=dualstack)
        with listener, ustack.use(client):
            socket.create_connection((SERVER6, 80)).close()
            if dualstack:
                socket.create_connection((SERVER, 80)).close()
            else:
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((SERVER, 80))


def test_create_server_refuses_dual_mode_of_ipv4():
    with pytest.raises(ValueError, match="dualstack_ipv6 requires AF_INET6 family"):
        socket.create_server(("", 80), dualstack_ipv6=True)
    assert socket.has_dualstack_ipv6()


def test_create_connection_has_a_time_out_a_source_and_all_errors():
    with two_hosts() as (_, server, client):
        with ustack.use(server):
            listener = socket.create_server((SERVER, 80))
        with listener, ustack.use(client):
            with socket.create_connection((SERVER, 80), 3, (CLIENT, 7777)) as made:
                assert made.gettimeout() == 3
                assert made.getsockname() == (CLIENT, 7777)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((SERVER, 81))
            with pytest.raises(ExceptionGroup) as caught:
                socket.create_connection((SERVER, 81), all_errors=True)
            assert isinstance(caught.value.exceptions[0], ConnectionRefusedError)
            with pytest.raises(TimeoutError):
                socket.create_connection(("10.0.0.77", 80), timeout=0.5)


def test_the_default_time_out_is_pythons(request):
    request.addfinalizer(lambda: socket.setdefaulttimeout(None))
    with two_hosts() as (_, server, _), ustack.use(server):
        socket.setdefaulttimeout(2.5)
        with socket.socket() as made:
            assert made.gettimeout() == 2.5


def test_the_type_may_be_left_to_the_stack_where_the_protocol_decides():
    with two_hosts() as (_, server, _), ustack.use(server):
        with socket.socket(socket.AF_UNSPEC, 0, socket.IPPROTO_TCP) as made:
            assert (made.family, made.type, made.proto) == (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        with socket.socket(socket.AF_INET6) as made:
            assert (made.proto, made.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)) == (0, socket.IPPROTO_TCP)
        with raises_errno(22):
            socket.socket(socket.AF_UNSPEC, 0, 0)
        with raises_errno(91):
            socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP)
        with raises_errno(94):
            socket.socket(socket.AF_INET, socket.SOCK_RDM)
        with pytest.raises(TypeError):
            socket.socket(socket.AF_INET, "stream")


def test_more_sockets_than_the_stack_may_have_give_emfile():
    with two_hosts() as (_, server, _), ustack.use(server):
        server.stack.config.endpoints_limit = 2
        with socket.create_server((SERVER, 80)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
            with raises_errno(24):
                socket.socket()
            second.close()
            socket.socket().close()


def test_a_socket_that_is_lost_is_closed_with_a_warning():
    with two_hosts() as (lab, server, _), ustack.use(server):
        listener = socket.create_server((SERVER, 80))
        with pytest.warns(ResourceWarning, match=r"unclosed <.*laddr=\('10\.0\.0\.1', 80\)"):
            del listener
        lab.sleep(0)
        socket.create_server((SERVER, 80)).close()


def test_a_socket_whose_constructor_failed_is_lost_in_silence():
    with pytest.raises(OSError, match=r"not supported"):
        OwnSocket.__mro__[1](9999)


def test_a_stopped_stack_gives_enetdown():
    with two_hosts() as (_, server, _), ustack.use(server):
        made = socket.create_server((SERVER, 80))
        number = made.fileno()
        server.stop()
        for call in (made.accept, made.getsockname, made.listen, socket.socket):
            with raises_errno(100):
                call()
        assert made.fileno() == number
        made.close()

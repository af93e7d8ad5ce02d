"""Python's own libraries on our sockets: socketserver, http.server and http.client, asyncio, selectors, ssl."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import http.server
import os
import selectors
import socketserver
import ssl
import threading
import xmlrpc.client
import xmlrpc.server

import pytest

import ustack
from tests.support.hosts import SERVER, SERVER6, two_hosts
from tests.support.raising import raises_errno
from tests.support.real_hosts import real_hosts
from ustack import socket
from ustack.api.servers import on_ustack

BODY = bytes(range(256)) * 400


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers GET with BODY and PUT with the digest of what was put."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(BODY)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(hashlib.sha256(data).hexdigest().encode())

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


class Connection(http.client.HTTPConnection):
    """An HTTP client over a socket of ours."""

    def connect(self) -> None:
        self.sock = socket.create_connection((self.host, self.port), timeout=20)


def fetch(address: str = SERVER) -> tuple[bytes, bytes]:
    """GET and PUT over one connection."""
    client = Connection(address, 8000)
    client.request("GET", "/")
    page = client.getresponse().read()
    client.request("PUT", "/", body=BODY * 3)
    digest = client.getresponse().read()
    client.close()
    return page, digest


DIGEST = hashlib.sha256(BODY * 3).hexdigest().encode()


@pytest.fixture
def serving():
    """Run a server's loop in a thread until the test ends."""
    running = []

    def serve(server):
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        running.append((server, thread))
        return server

    yield serve
    for server, thread in running:
        server.shutdown()
        thread.join(20)
        server.server_close()


@pytest.mark.parametrize("server_class", [http.server.HTTPServer, http.server.ThreadingHTTPServer])
def test_an_unmodified_http_server_serves(server_class, serving):
    with real_hosts() as (server, client):
        with ustack.use(server):
            made = serving(on_ustack(server_class)((SERVER, 8000), Pages))
            assert made.server_name == SERVER
            assert isinstance(made, server_class)
        with ustack.use(client):
            assert fetch() == (BODY, DIGEST)
        made.shutdown()


def test_an_http_server_serves_ipv6(serving):
    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6

    with real_hosts() as (server, client):
        with ustack.use(server):
            made = serving(on_ustack(Server)((SERVER6, 8000), Pages))
        with ustack.use(client):
            assert fetch(SERVER6) == (BODY, DIGEST)
        made.shutdown()


def test_several_clients_at_a_time(serving):
    with real_hosts() as (server, client):
        with ustack.use(server):
            made = serving(on_ustack(http.server.ThreadingHTTPServer)((SERVER, 8000), Pages))
        with ustack.use(client):
            results: list[object] = []
            threads = [threading.Thread(target=lambda: results.append(fetch())) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        assert results == [(BODY, DIGEST)] * 8
        made.shutdown()


def test_the_same_servers_run_in_virtual_time():
    def serve() -> None:
        made.serve_forever()
        made.server_close()

    with two_hosts() as (lab, server, client):
        with ustack.use(server):
            made = on_ustack(http.server.ThreadingHTTPServer)((SERVER, 8000), Pages)
        server.run(serve)
        fetching = [client.run(fetch) for _ in range(3)]
        assert [task.result() for task in fetching] == [(BODY, DIGEST)] * 3
        made.shutdown()
        lab.run()


def test_a_single_threaded_server_runs_in_virtual_time_too():
    with two_hosts() as (lab, server, client):
        with ustack.use(server):
            made = on_ustack(http.server.HTTPServer)((SERVER, 8000), Pages)
        server.run(made.serve_forever)
        assert client.run(fetch).result() == (BODY, DIGEST)
        made.shutdown()
        lab.run()
        made.server_close()


def test_a_udp_server(serving):
    class Upper(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, made = self.request
            made.sendto(data.upper(), self.client_address)

    with real_hosts() as (server, client):
        with ustack.use(server):
            made = serving(on_ustack(socketserver.ThreadingUDPServer)((SERVER, 7), Upper))
        with ustack.use(client), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(20)
            asking.sendto(b"question", (SERVER, 7))
            assert asking.recvfrom(100) == (b"QUESTION", (SERVER, 7))
        made.shutdown()


def test_a_remote_procedure_call(serving):
    with real_hosts() as (server, client):
        with ustack.use(server):
            made = serving(on_ustack(xmlrpc.server.SimpleXMLRPCServer)((SERVER, 8000), logRequests=False))
            made.register_function(pow, "pow")

        class Transport(xmlrpc.client.Transport):
            def make_connection(self, host):
                return Connection(host)

        with ustack.use(client), xmlrpc.client.ServerProxy(f"http://{SERVER}:8000", Transport()) as proxy:
            assert proxy.pow(2, 10) == 1024
        made.shutdown()


def test_a_server_that_cannot_bind_leaves_no_socket():
    with two_hosts() as (_, server, _), ustack.use(server), raises_errno(99):
        on_ustack(http.server.HTTPServer)(("192.0.2.1", 80), Pages)


def test_stock_asyncio_streams():
    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read(-1)).upper())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def ask(connection: socket.socket, text: bytes) -> bytes:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, (SERVER, 8000))
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(text)
        writer.write_eof()
        answer = await reader.read(-1)
        writer.close()
        await writer.wait_closed()
        return answer

    async def conversation(listener: socket.socket, clients: list[socket.socket]) -> list[bytes]:
        async with await asyncio.start_server(serve_one, sock=listener):
            texts = [b"text %d " % number * 5000 for number in range(len(clients))]
            return await asyncio.gather(*map(ask, clients, texts))

    with real_hosts() as (server, client):
        with ustack.use(server):
            listener = socket.create_server((SERVER, 8000))
        with ustack.use(client):
            clients = [socket.socket() for _ in range(5)]
        answers = asyncio.run(conversation(listener, clients))
    assert answers == [b"TEXT %d " % number * 5000 for number in range(5)]


def test_stock_asyncio_datagrams():
    async def conversation(bound: socket.socket, sender: socket.socket) -> tuple[bytes, object]:
        loop = asyncio.get_running_loop()
        received = loop.create_future()

        class Receiver(asyncio.DatagramProtocol):
            def datagram_received(self, data, address):
                received.set_result((data, address[0]))

        transport, _ = await loop.create_datagram_endpoint(Receiver, sock=bound)
        await loop.sock_sendto(sender, b"hello", (SERVER, 5000))
        result = await asyncio.wait_for(received, 20)
        transport.close()
        return result

    with real_hosts() as (server, client):
        with ustack.use(server):
            bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            bound.bind((SERVER, 5000))
        with ustack.use(client), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            assert asyncio.run(conversation(bound, sender)) == (b"hello", "10.0.0.2")


@pytest.mark.parametrize("kind", [selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector])
def test_a_selector_over_many_connections(kind):
    count = 10
    with real_hosts() as (server, client):
        with ustack.use(server):
            listener = socket.create_server((SERVER, 8000))
        with ustack.use(client):
            clients = [socket.create_connection((SERVER, 8000)) for _ in range(count)]
        for number, each in enumerate(clients):
            each.sendall(b"%d" % number)
        answered = 0
        with kind() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while answered < count:
                for key, _ in selector.select(20):
                    if key.fileobj is listener:
                        accepted, _ = listener.accept()
                        selector.register(accepted, selectors.EVENT_READ)
                    else:
                        key.fileobj.sendall(key.fileobj.recv(100) * 2)
                        selector.unregister(key.fileobj)
                        key.fileobj.close()
                        answered += 1
        assert [each.recv(100) for each in clients] == [b"%d" % number * 2 for number in range(count)]
        for each in [*clients, listener]:
            each.close()


def contexts(tmp_path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's, without certificates: anonymous Diffie-Hellman."""
    made = []
    for purpose in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(purpose)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("aNULL:@SECLEVEL=0")
        made.append(context)
    return made[0], made[1]


def test_ssl_wraps_a_socket(tmp_path):
    data = os.urandom(300_000)
    server_context, client_context = contexts(tmp_path)

    def serve() -> None:
        with server_context.wrap_socket(listener.accept()[0], server_side=True) as secure:
            received = bytearray()
            while len(received) < len(data):
                received += secure.recv(1 << 16)
            secure.sendall(hashlib.sha256(received).digest())

    with real_hosts() as (server, client):
        with ustack.use(server):
            listener = socket.create_server((SERVER, 443))
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with ustack.use(client):
            plain = socket.create_connection((SERVER, 443), timeout=20)
        with client_context.wrap_socket(plain) as secure:
            assert plain.fileno() == -1
            assert secure.gettimeout() == 20
            secure.sendall(data)
            assert secure.recv(100) == hashlib.sha256(data).digest()
        thread.join(20)
        listener.close()


def test_ssl_through_memory_buffers_works_in_virtual_time(tmp_path):
    server_context, client_context = contexts(tmp_path)

    class Secure:
        """TLS over a blocking socket, by hand."""

        def __init__(self, context: ssl.SSLContext, under: socket.socket, server_side: bool) -> None:
            self.under = under
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.layer = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side)

        def call(self, function, *arguments):
            while True:
                try:
                    result = function(*arguments)
                except ssl.SSLWantReadError:
                    self.under.sendall(self.outgoing.read())
                    self.incoming.write(self.under.recv(1 << 16))
                else:
                    self.under.sendall(self.outgoing.read())
                    return result

    def serve() -> None:
        with socket.create_server((SERVER, 443)) as listener, listener.accept()[0] as under:
            secure = Secure(server_context, under, True)
            secure.call(secure.layer.write, secure.call(secure.layer.read, 100).upper())

    def ask() -> bytes:
        with socket.create_connection((SERVER, 443)) as under:
            secure = Secure(client_context, under, False)
            secure.call(secure.layer.write, b"question")
            return secure.call(secure.layer.read, 100)

    with two_hosts() as (_, server, client):
        server.run(serve)
        assert client.run(ask).result() == b"QUESTION"


def test_a_connection_cannot_be_detached_in_virtual_time_and_stays_open():
    def ask() -> bytes:
        with socket.create_connection((SERVER, 80)) as connection:
            with raises_errno(95):
                connection.detach()
            return connection.recv(100)

    def serve() -> None:
        with socket.create_server((SERVER, 80)) as listener, listener.accept()[0] as connection:
            connection.sendall(b"still here")

    with two_hosts() as (_, server, client):
        server.run(serve)
        assert client.run(ask).result() == b"still here"


def test_what_is_no_connection_is_detached_to_a_descriptor_that_makes_it_a_socket_again():
    with real_hosts() as (server, client):
        with ustack.use(server):
            listener = socket.create_server((SERVER, 80))
            number = listener.detach()
            listener.close()
            again = socket.socket(fileno=number)
        assert again.fileno() == number
        assert again.getsockname() == (SERVER, 80)
        with ustack.use(client), socket.create_connection((SERVER, 80)):
            again.accept()[0].close()
        again.close()
        with ustack.use(client), pytest.raises(ConnectionRefusedError):
            socket.create_connection((SERVER, 80))
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_a_detached_descriptor_carries_the_data_and_the_ends():
    with real_hosts() as (server, client):
        with ustack.use(server):
            listener = socket.create_server((SERVER, 80))
        with ustack.use(client):
            connection = socket.create_connection((SERVER, 80))
        accepted, _ = listener.accept()
        accepted.sendall(b"before, ")
        connection.fileno()
        descriptor = connection.detach()
        assert connection.fileno() == -1
        with open(descriptor, "r+b", buffering=0) as file:
            accepted.sendall(b"after")
            accepted.shutdown(socket.SHUT_WR)
            assert file.readall() == b"before, after"
            file.write(b"answer")
        assert accepted.recv(100) == b"answer"
        assert accepted.recv(100) == b""
        accepted.close()
        listener.close()

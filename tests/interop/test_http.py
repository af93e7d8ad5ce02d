"""Real HTTP clients and servers on the kernel's side of the TUN device."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.network import IPV4, IPV6, KERNEL_IPV4, KERNEL_IPV6, Network, url_host
from ustack import socket
from ustack.api.servers import on_ustack

FAMILIES = pytest.mark.parametrize("address", [IPV4, IPV6], ids=["ipv4", "ipv6"])
PORT = 8000


class Handler(http.server.SimpleHTTPRequestHandler):
    """GET as the standard library has it; PUT answers with the SHA-256 of what came."""

    protocol_version = "HTTP/1.1"
    requests: ClassVar[list[str]] = []

    def do_PUT(self) -> None:
        digest = hashlib.sha256()
        left = int(self.headers["Content-Length"])
        while left:
            chunk = self.rfile.read(min(left, 1 << 20))
            assert chunk, "the upload was cut"
            digest.update(chunk)
            left -= len(chunk)
        body = digest.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        self.requests.append(format % args)


class Server(http.server.ThreadingHTTPServer):
    """As `python -m http.server` has it, for either family."""

    request_queue_size = 256


class Server6(Server):
    address_family = socket.AF_INET6


@contextmanager
def serving(address: str, folder: Path) -> Iterator[None]:
    """Serve a folder on the stack."""

    def handler(*args: Any) -> Handler:
        return Handler(*args, directory=str(folder))

    server = on_ustack(Server6 if ":" in address else Server)((address, PORT), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@FAMILIES
def test_curl_downloads_a_gigabyte(network: Network, address: str, gigabyte: tuple[Path, str]) -> None:
    path, digest = gigabyte
    with serving(address, path.parent):
        url = f"http://{url_host(address)}:{PORT}/{path.name}"
        output = network.run("sh", "-c", f"curl -sS --globoff '{url}' | sha256sum")
    assert output.split()[0] == digest


@FAMILIES
def test_curl_uploads_a_gigabyte(network: Network, address: str, gigabyte: tuple[Path, str]) -> None:
    path, digest = gigabyte
    with serving(address, path.parent):
        url = f"http://{url_host(address)}:{PORT}/upload"
        output = network.run("curl", "-sS", "--globoff", "-T", str(path), url)
    assert output == digest


@FAMILIES
def test_two_hundred_curls_in_parallel(network: Network, address: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * 400
    (tmp_path / "file").write_bytes(data)
    with serving(address, tmp_path):
        url = f"http://{url_host(address)}:{PORT}/file"
        script = f"seq 200 | xargs -P 200 -I N sh -c \"curl -sS --globoff '{url}' | sha256sum\""
        output = network.run("sh", "-c", script)
    assert output.split() == [hashlib.sha256(data).hexdigest(), "-"] * 200


@pytest.mark.parametrize("address", [KERNEL_IPV4, KERNEL_IPV6], ids=["ipv4", "ipv6"])
def test_fetching_a_gigabyte_from_nginx(
    network: Network, address: str, gigabyte: tuple[Path, str], tmp_path: Path
) -> None:
    path, digest = gigabyte
    with nginx(network, address, path, tmp_path):
        connection = http.client.HTTPConnection(address, PORT)
        connection._create_connection = socket.create_connection  # type: ignore[attr-defined]
        connection.request("GET", f"/{path.name}")
        response = connection.getresponse()
        received = hashlib.sha256()
        while chunk := response.read(1 << 20):
            received.update(chunk)
        connection.close()
    assert response.status == 200
    assert received.hexdigest() == digest


@contextmanager
def nginx(network: Network, address: str, path: Path, folder: Path) -> Iterator[None]:
    """nginx on the kernel's side, serving the folder of `path`."""
    configuration = folder / "nginx.conf"
    (folder / "content").mkdir()
    (folder / "content" / path.name).symlink_to(path)
    configuration.write_text(
        f"""daemon off; master_process off; pid {folder}/pid; error_log stderr;
        events {{ worker_connections 64; }}
        http {{ access_log off; sendfile on;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
            server {{ listen {url_host(address)}:{PORT}; root {folder}/content; }} }}
        """
    )
    with network.start(shutil.which("nginx") or "nginx", "-c", str(configuration)) as program:
        try:
            wait_for_port(network, address)
            yield
        finally:
            program.terminate()


def wait_for_port(network: Network, address: str) -> None:
    """Until the server on the kernel's side accepts connections."""
    script = f"until curl -s -o /dev/null --globoff 'http://{url_host(address)}:{PORT}/'; do sleep 0.05; done"
    network.run("sh", "-c", script, timeout=20)

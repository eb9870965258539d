"""A local nginx of our own: serves the work folder, counts requests, needs no root."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

_START_TIMEOUT_S = 10
_CONFIG = """
{user}
worker_processes {workers};
daemon off;
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    types {{ }}
    default_type application/octet-stream;
    keepalive_requests 1000000;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    map_hash_max_size 65536;
    map_hash_bucket_size 256;
    map $uri $digest {{ include {home}/etags; }}
    server {{
        listen 127.0.0.1:{port}{tls};
        root {root};
        {etag}
        location = /requests {{ stub_status; }}
    }}
}}
"""


class Nginx:
    """Owner of the server: `with Nginx(root, home) as nginx`.

    Args:
        root: the folder that is served.
        home: a folder for its own files.
        workers: processes that serve.
        etags: the ETags of files by their path within root; nginx's own for none.
        certificate: key and certificate for TLS, PEM in one file; none for plain HTTP.
    """

    def __init__(
        self,
        root: Path,
        home: Path,
        *,
        workers: int = 2,
        etags: Mapping[Path, str] | None = None,
        certificate: Path | None = None,
    ) -> None:
        self.port = find_free_port()
        self.url = f"http{'s' * (certificate is not None)}://127.0.0.1:{self.port}/"
        self._home = home
        self._own_requests = 0
        home.mkdir(parents=True, exist_ok=True)
        # Without it nginx's workers give up root, and may not read the work folder.
        user = "user root;" if os.geteuid() == 0 else ""
        tls = ""
        if certificate is not None:
            tls = f" ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate}"
        known = [f'"/{path}" \'"{etag}"\';\n' for path, etag in (etags or {}).items()]
        (home / "etags").write_text("".join(known))
        config = _CONFIG.format(
            user=user,
            home=home,
            root=root,
            port=self.port,
            workers=workers,
            tls=tls,
            etag="etag off; add_header ETag $digest;" if etags else "",
        )
        (home / "nginx.conf").write_text(config)

    def __enter__(self) -> Self:
        nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if nginx is None:
            raise FileNotFoundError("nginx is not installed (apt-get install nginx-light)")
        command = [nginx, "-c", str(self._home / "nginx.conf"), "-e", str(self._home / "error.log")]
        self._process = subprocess.Popen(command)
        try:
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def count_requests(self) -> int:
        """Return the requests answered so far, this one not counted."""
        # its certificate is of this moment, and nobody else listens there
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        own.check_hostname, own.verify_mode = False, ssl.CERT_NONE
        with urlopen(f"{self.url}requests", timeout=10, context=own) as reply:
            status = reply.read().decode()
        numbers = re.search(r"requests\s+\d+\s+\d+\s+(\d+)", status)
        if numbers is None:
            raise ValueError(f"nginx's status page has no count of requests: {status!r}")
        self._own_requests += 1
        return int(numbers[1]) - self._own_requests

    def find_workers(self) -> list[int]:
        """Return the process ids of those that serve, by proc(5)."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                self.count_requests()
            except URLError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self._home / "error.log").read_text()
                    raise RuntimeError(f"nginx does not start: {log}") from None
                time.sleep(0.02)
            else:
                return

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def find_free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port

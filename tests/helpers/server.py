"""A real web server as a DVC remote: nginx on loopback, with uploads and a password."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{}}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port}; root {folder}/files; client_max_body_size 0;
    dav_methods PUT DELETE; create_full_put_path on; {limit}
    auth_basic remote; auth_basic_user_file {folder}/passwords;
  }}
}}
"""
USER, PASSWORD = "reviewer", "a secret"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def nginx(folder: Path, port: int, limit: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    """The server of ``folder/files``; ``limit`` is a directive such as ``limit_rate 20k;``."""
    (folder / "files").mkdir(parents=True, exist_ok=True)
    (folder / "passwords").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    user = "user root;" if os.geteuid() == 0 else ""
    text = CONFIGURATION.format(folder=folder, port=port, limit=limit, user=user)
    (folder / "nginx.conf").write_text(text)
    process = subprocess.Popen(["nginx", "-e", folder / "start.log", "-c", folder / "nginx.conf"])
    try:
        deadline = time.monotonic() + 20
        while not answers(port):
            assert process.poll() is None, (folder / "start.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from agents.images.nginx_config import Config, ConfigError, read

FRONTEND = """
# the shape of the documentation's front end
upstream Backend { server api-a:8080; server api-b; }
server {
    listen 80; listen [::]:80;
    server_name example.org www.example.org;
    location / { root "/srv/my site"; index start.html; try_files $uri $uri/ /start.html; }
    location = /health { return 200 'fine\\n'; }
    location /api/ { proxy_pass http://Backend/v1/; proxy_set_header Host $host; }
    location ~ \\.php$ { return 403; }
}
server { listen 8080; return 301 https://example.org; resolver 10.96.0.10; }
"""


def read_text(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "site.conf"
    path.write_text(text)
    return read([path])


def test_servers_and_locations(tmp_path: Path) -> None:
    config = read_text(tmp_path, FRONTEND)
    front = config.server(80, "example.org:80")
    assert front.ports == [80]
    assert front.location("/a").root == "/srv/my site"
    assert front.location("/a").fallback == "/start.html"
    assert front.location("/health").returns == ("200", "fine\\n")
    assert front.location("/healthy").prefix == "/"
    assert front.location("/api/x").proxy_pass == "http://Backend/v1/"
    assert config.server(8080, "").location("/").returns == ("301", "https://example.org")
    assert [config.member("Backend") for _ in range(3)] == ["api-a:8080", "api-b", "api-a:8080"]
    assert config.member("other:81") == "other:81"
    assert config.ignored == {"resolver", "location ~"}


def test_the_host_header_picks_among_servers_of_a_port(tmp_path: Path) -> None:
    config = read_text(tmp_path, "http { server { server_name a; } server { server_name b; return 204; } }")
    assert config.server(80, "b").location("/").returns == ("204",)
    assert config.server(80, "unknown").names == ["a"]


def test_without_a_configuration_there_is_the_default_site() -> None:
    assert read([]).server(80, "x").location("/").root == "/usr/share/nginx/html"


@pytest.mark.parametrize(
    "text", ["server {", "server { listen 80 }", "}", "listen 'x;", "{ }", "listen 80", "upstream x {}"]
)
def test_bad_syntax_is_told_as_nginx_tells_it(tmp_path: Path, text: str, start: Any) -> None:
    with pytest.raises(ConfigError):
        read_text(tmp_path, text)
    standin = start("nginx", "-c", str(tmp_path / "site.conf"))
    assert standin.process.wait(10) == 1
    assert "nginx: [emerg] " in standin.log


@pytest.fixture
def proxy(start: Any, tmp_path: Path, free_port: int) -> int:
    api = start("agnhost", "netexec", "--http-port=0", "--udp-port=-1").port("HTTP")
    (tmp_path / "index.html").write_text("front")
    (tmp_path / "site.conf").write_text(
        f"""server {{
            listen {free_port}; root {tmp_path}; add_header X-Tier front; try_files $uri /index.html;
            location /api/ {{
                proxy_pass http://127.0.0.1:{api}/; proxy_set_header X-Real-IP $remote_addr;
            }}
            location /dead {{ proxy_pass http://127.0.0.1:1; }}
            location /noname {{ proxy_pass http://no..name; }}
            location /go {{ return 302 /elsewhere; }}
            location /text {{ return 418 teapot; }}
        }}"""
    )
    start("nginx", "-c", str(tmp_path / "site.conf")).wait_log("start worker processes")
    return free_port


def test_proxying(proxy: int, connect: Any) -> None:
    client = connect(proxy)
    assert client.get("/api/hostname") == (200, socket.gethostname())
    assert client.headers["X-Tier"] == "front"
    client.connection.close()
    seen = json.loads(client.get("/api/header", X_Mine="1")[1])
    assert (seen["X-Real-Ip"], seen["X-Mine"]) == (["127.0.0.1"], ["1"])
    client.connection.close()
    assert client.get("/api/echo", "POST", b"msg=a+b", Content_Type="application/x-www-form-urlencoded") == (
        200,
        "a b",
    )
    client.connection.close()
    for target in ("/dead", "/noname"):
        status, page = client.get(target)
        assert (status, "502 Bad Gateway" in page) == (502, True)
        client.connection.close()


def test_returns_and_fallback(proxy: int, connect: Any) -> None:
    client = connect(proxy)
    assert client.get("/go")[0] == 302
    assert client.headers["Location"] == "/elsewhere"
    assert client.get("/text") == (418, "teapot")
    assert client.get("/some/page") == (200, "front")

"""The file for Docker Compose, field by field; what is inside it, as its own programs read it."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings

from tests.cli.recipes.test_containers import HERE, instructions
from tests.support.nginx import NginxProcess
from tests.support.written import any_settings
from wsctl.cli.recipes import generate_file
from wsctl.cli.recipes.deployment_settings import flags, grace
from wsctl.settings import Settings

NODES = ("node-1", "node-2")


def read(meant: Settings) -> Any:
    """As Compose has it when it has replaced variables, of which there are none."""
    return _undollared(yaml.safe_load(generate_file("compose", meant, HERE)))


def _undollared(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _undollared(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_undollared(each) for each in found]
    if not isinstance(found, str):
        return found
    assert "$" not in found.replace("$$", "")
    return found.replace("$$", "$")


@given(any_settings())
@settings(max_examples=20)
def test_both_nodes_are_told_what_the_settings_say(meant: Settings) -> None:
    found = read(meant)["services"]
    for name in NODES:
        node = found[name]
        told = [word for word in flags(meant) if not word.startswith(("--ssl", "--host", "--forwarded"))]
        assert [word for word in node["command"] if word in told] == told
        assert node["stop_grace_period"] == f"{grace(meant)}s"


def test_two_nodes_share_a_redis_behind_nginx() -> None:
    found = read(Settings(port=9000, shutdown_timeout=600))
    services = found["services"]
    assert set(services) == {*NODES, "redis", "nginx"}
    for name in NODES:
        node = services[name]
        assert node["command"] == [
            "serve",
            "--host=0.0.0.0",
            "--port=9000",
            "--shutdown-timeout=600",
            "--forwarded-allow-ips=*",
        ]
        assert node["environment"] == {
            "WSCTL_REDIS": "redis://redis:6379/0",
            "WSCTL_STOP_TIMEOUT": "630",
        }
        assert node["stop_grace_period"] == "630s"
        assert (node["read_only"], node["cap_drop"], "init" in node) == (True, ["ALL"], False)
        assert node["ulimits"] == {"nofile": 65536}
        assert "ports" not in node
    assert services["nginx"]["ports"] == ["9000:80"]


def test_nginx_and_redis_outlive_the_drain() -> None:
    """Compose stops who depends on others before them."""
    services = read(Settings())["services"]
    for name in NODES:
        assert set(services[name]["depends_on"]) == {"nginx", "redis"}
    assert "depends_on" not in services["nginx"]


def test_a_redis_elsewhere_is_not_started_here() -> None:
    found = read(Settings(redis="redis://store:6379/0"))
    assert set(found["services"]) == {*NODES, "nginx"}
    assert "volumes" not in found
    assert found["services"]["node-1"]["environment"]["WSCTL_REDIS"] == "redis://store:6379/0"


def test_the_image_is_built_from_the_file_itself() -> None:
    found = read(Settings(port=9000))["services"]["node-1"]["build"]["dockerfile_inline"]
    plain = generate_file("docker", Settings(port=9000, redis="redis://x"), HERE)
    assert instructions(found) == [each for each in instructions(plain) if "redis://" not in each[1]]


def test_nginx_takes_what_is_written_for_it(tmp_path: Path) -> None:
    meant = Settings(port=9000, max_connections=1000, root_path="/a $b")
    text = read(meant)["configs"]["nginx"]["content"]
    for name in NODES:
        assert f"server {name}:9000 max_fails=0 resolve;" in text
        # Names of Compose's, and what nginx 1.27 brought.
        text = text.replace(f"{name}:9000 max_fails=0 resolve", "127.0.0.1:9000")
    site = text[text.index("http {") + len("http {") : text.rindex("}")]
    with NginxProcess(site, tmp_path) as nginx:
        assert nginx.check() == ""
    assert "worker_connections 4256;" in text


def test_secrets_are_files_and_are_never_shown() -> None:
    meant = Settings(token="s3cret", redis="redis://me:s3cret@store/0", ssl_certfile="/my $c.pem")
    assert "s3cret" not in generate_file("compose", meant, HERE)
    found = read(meant)
    assert found["secrets"] == {
        "token": {"file": "./token"},
        "redis_password": {"file": "./redis_password"},
        "ssl_certfile": {"file": "/my $c.pem"},
    }
    node = found["services"]["node-2"]
    assert node["secrets"] == list(found["secrets"])
    assert node["environment"] == {
        "WSCTL_REDIS": "redis://me@store/0",
        "WSCTL_STOP_TIMEOUT": "1830",
        "WSCTL_TOKEN_FILE": "/run/secrets/token",
        "WSCTL_REDIS_PASSWORD_FILE": "/run/secrets/redis_password",
    }
    assert "--ssl-certfile=/run/secrets/ssl_certfile" in node["command"]
    assert "secrets" not in read(Settings())

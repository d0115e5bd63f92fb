"""The manifest for Kubernetes, field by field."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import given

from tests.cli.recipes.test_docker import HERE
from tests.support.sizes import examples
from tests.support.written import any_settings
from wsctl.cli.recipes import generate_file
from wsctl.cli.recipes.deployment import flags
from wsctl.cli.recipes.docker import container_settings
from wsctl.codes import CLOSE_TIMEOUT
from wsctl.settings import Settings

REDIS = "redis://store:6379/0"


def documents(meant: Settings) -> dict[str, Any]:
    """By kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(generate_file("k8s", meant, HERE))}


def pod(meant: Settings) -> Any:
    return documents(meant)["Deployment"]["spec"]["template"]["spec"]


def container(meant: Settings) -> Any:
    (only,) = pod(meant)["containers"]
    return only


@given(any_settings())
@examples(20)
def test_the_arguments_say_what_the_settings_say(meant: Settings) -> None:
    given = [word.replace("$$", "$") for word in container(meant)["args"]]
    assert [word for word in given if "--ssl-" not in word] == [
        "serve",
        *(word for word in flags(container_settings(meant, "k8s")) if "--ssl-" not in word),
    ]


def test_no_argument_begins_a_variable() -> None:
    args = container(Settings(root_path="/$(HOME)$x", forwarded_allow_ips="$$"))["args"]
    assert args[-2:] == ["--forwarded-allow-ips=$$$$", "--root-path=/$$(HOME)$$x"]


@given(any_settings())
@examples(20)
def test_the_kubelet_waits_for_the_longest_drain(meant: Settings) -> None:
    found = pod(meant)
    (server,) = found["containers"]
    before = int(
        (server.get("lifecycle") or {"preStop": {"exec": {"command": [0, 0]}}})["preStop"]["exec"]["command"][
            1
        ]
    )
    longest = before + meant.drain_delay + meant.shutdown_timeout + CLOSE_TIMEOUT
    assert longest < found["terminationGracePeriodSeconds"]
    assert found["terminationGracePeriodSeconds"] - 31 < meant.drain_delay + meant.shutdown_timeout


def test_there_is_a_pre_stop_only_where_the_server_does_not_wait_itself() -> None:
    assert pod(Settings(shutdown_timeout=600, drain_delay=15))["terminationGracePeriodSeconds"] == 645
    assert "lifecycle" not in container(Settings(drain_delay=15))
    assert container(Settings())["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "10"]
    assert "With --drain-delay 10" in generate_file("k8s", Settings(), HERE)


def test_a_new_pod_is_ready_before_an_old_one_goes() -> None:
    spec = documents(Settings(redis=REDIS))["Deployment"]["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert documents(Settings())["Deployment"]["spec"]["replicas"] == 1


def test_all_mean_the_same_pods() -> None:
    found = documents(Settings(redis=REDIS, port=9000))
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert set(found) == {"Deployment", "Service", "PodDisruptionBudget"}
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    (port,) = container(Settings(port=9000))["ports"]
    assert port["containerPort"] == 9000
    assert found["Service"]["spec"]["ports"] == [{"name": "ws", "port": 80, "targetPort": port["name"]}]


def test_who_drains_is_not_ready_and_lives() -> None:
    found = container(Settings())
    ready, live = (found[name]["httpGet"] for name in ("readinessProbe", "livenessProbe"))
    assert ready == {"path": "/health/ready", "port": "ws", "scheme": "HTTP"}
    assert live == {"path": "/health/live", "port": "ws", "scheme": "HTTP"}
    assert "preStop" not in str(found["livenessProbe"])


def test_probes_and_prometheus_ask_at_the_admin_address_where_there_is_one() -> None:
    meant = Settings(app="main:app", admin_port=9000, ssl_certfile="/here/c.pem")
    found, inside = documents(meant), container(meant)
    assert "--admin-host=0.0.0.0" in inside["args"]
    assert {"name": "admin", "containerPort": 9000} in inside["ports"]
    for probe, path in (("readinessProbe", "/health/ready"), ("livenessProbe", "/health/live")):
        assert inside[probe]["httpGet"] == {"path": path, "port": "admin", "scheme": "HTTP"}
    assert found["Deployment"]["spec"]["template"]["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "9000",
        "prometheus.io/path": "/metrics",
    }
    assert [port["targetPort"] for port in found["Service"]["spec"]["ports"]] == ["ws"]
    assert "annotations" not in documents(Settings())["Deployment"]["spec"]["template"]["metadata"]
    assert pod(Settings(admin_port=80))["securityContext"]["sysctls"]


def test_nothing_is_root_or_writable_but_a_folder_for_the_control_socket() -> None:
    found = pod(Settings())
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["runAsUser"] == 10001
    inside = container(Settings())
    assert inside["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert inside["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert [volume["name"] for volume in found["volumes"]] == ["tmp"]
    assert "sysctls" not in found["securityContext"]
    assert pod(Settings(port=443))["securityContext"]["sysctls"]


def test_secrets_come_from_a_secret_and_are_never_shown() -> None:
    meant = Settings(token="s3cret", redis="redis://me:s3cret@store:6379/0")
    assert "s3cret" not in generate_file("k8s", meant, HERE)
    env = {each["name"]: each.get("value") or each["valueFrom"] for each in container(meant)["env"]}
    assert env == {
        "WSCTL_REDIS": "redis://me@store:6379/0",
        "WSCTL_STOP_TIMEOUT": "1820",
        "WSCTL_TOKEN": {"secretKeyRef": {"name": "wsctl", "key": "token"}},
        "WSCTL_REDIS_PASSWORD": {"secretKeyRef": {"name": "wsctl", "key": "redis_password"}},
        "WSCTL_PUBLISH_TOKEN": {"secretKeyRef": {"name": "wsctl", "key": "publish_token", "optional": True}},
    }
    assert "--from-file=token=FILE --from-file=publish_token=FILE" in generate_file("k8s", Settings(), HERE)
    *_, token, _publishers = container(Settings())["env"]
    assert token["valueFrom"]["secretKeyRef"]["optional"] is True


def test_a_certificate_is_a_secret_too_and_probes_speak_tls() -> None:
    meant = Settings(ssl_certfile="/here/c.pem", ssl_keyfile="/here/k.pem")
    found = pod(meant)
    inside = container(meant)
    assert inside["args"][-2:] == [
        "--ssl-certfile=/etc/wsctl/tls/tls.crt",
        "--ssl-keyfile=/etc/wsctl/tls/tls.key",
    ]
    assert {"name": "tls", "mountPath": "/etc/wsctl/tls", "readOnly": True} in inside["volumeMounts"]
    assert {"name": "tls", "secret": {"secretName": "wsctl-tls"}} in found["volumes"]
    assert inside["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert "/here" not in "".join(inside["args"])


def test_the_autoscaler_that_is_hinted_at_could_be_applied() -> None:
    text = generate_file("k8s", Settings(shutdown_timeout=86400), HERE)
    hint = re.sub(r"^# ?", "", text[text.index("# ---\n# apiVersion: autoscaling") :], flags=re.MULTILINE)
    (found,) = yaml.safe_load_all(hint)
    assert found["spec"]["scaleTargetRef"]["name"] == "wsctl"
    assert found["spec"]["behavior"]["scaleDown"]["policies"][0]["periodSeconds"] == 1800


def test_what_checks_tokens_is_mounted() -> None:
    meant = Settings(auth="jwt", jwt_key="/here/key.pem")
    assert container(meant)["args"][-1] == "--jwt-key=/etc/wsctl/keys/jwt_key"
    assert {"name": "keys", "mountPath": "/etc/wsctl/keys", "readOnly": True} in container(meant)[
        "volumeMounts"
    ]
    assert "--from-file=jwt_key=FILE" in generate_file("k8s", meant, HERE)
    (name,) = [each["name"] for each in container(Settings(auth="token"))["env"] if "CLIENT" in each["name"]]
    assert name == "WSCTL_CLIENT_TOKEN"


def test_the_server_knows_how_long_it_is_waited_for() -> None:
    told = {each["name"]: each.get("value") for each in container(Settings(drain_delay=15))["env"]}
    assert told["WSCTL_STOP_TIMEOUT"] == "1845"
    given = Settings(stop_timeout=50)
    assert pod(given)["terminationGracePeriodSeconds"] == 50


@pytest.mark.parametrize(("ping", "told"), [(20.0, "60 s"), (45.0, "75 s"), (0.0, "very long")])
def test_an_ingress_is_told_how_much_silence_to_allow(ping: float, told: str) -> None:
    assert f"silence of {told}" in generate_file("k8s", Settings(ping_interval=ping), HERE)


def test_a_journal_belongs_to_one_pod_of_which_there_are_never_two() -> None:
    meant = Settings(journal="log.db", history_bytes=1 << 30)
    found = documents(meant)
    assert set(found) == {"StatefulSet", "Service", "PodDisruptionBudget"}
    spec = found["StatefulSet"]["spec"]
    assert (spec["replicas"], spec["serviceName"]) == (1, found["Service"]["metadata"]["name"])
    assert "strategy" not in spec
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "4096Mi"
    inside = spec["template"]["spec"]
    (server,) = inside["containers"]
    assert "--journal=/var/lib/wsctl/log.db" in server["args"]
    mount = {"name": claim["metadata"]["name"], "mountPath": "/var/lib/wsctl"}
    assert mount in server["volumeMounts"]
    assert inside["securityContext"]["fsGroup"] == inside["securityContext"]["runAsGroup"]
    text = generate_file("k8s", meant, HERE)
    assert "rollout status statefulset/wsctl" in text
    assert "Autoscaler" not in text


def test_a_pod_without_another_one_beside_it_is_not_kept_open_for_services() -> None:
    (server,) = documents(Settings(journal="log.db"))["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert "lifecycle" not in server
    told = {each["name"]: each.get("value") for each in server["env"]}
    assert told["WSCTL_STOP_TIMEOUT"] == "1830"


def test_without_a_journal_there_is_no_volume_for_one() -> None:
    spec = documents(Settings(redis=REDIS))["Deployment"]["spec"]
    assert "volumeClaimTemplates" not in spec
    assert "fsGroup" not in spec["template"]["spec"]["securityContext"]

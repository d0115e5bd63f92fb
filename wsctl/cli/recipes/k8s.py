"""Deployment, Service and PodDisruptionBudget for Kubernetes; with a journal a StatefulSet of one pod."""

from collections.abc import Iterable, Mapping

from wsctl.cli.recipes.deployment import (
    OPTIONAL_SECRETS,
    Place,
    environment,
    flags_with_files,
    idle_timeout,
    secret_names,
    stop_time,
)
from wsctl.cli.recipes.docker import container_settings, container_values
from wsctl.cli.recipes.journal import journal_file, storage
from wsctl.cli.recipes.nginx import NEVER
from wsctl.cli.recipes.systemd import PRIVILEGED_PORTS
from wsctl.cli.recipes.template import fill_template, json_word, read_template, yaml_word
from wsctl.errors import UsageError
from wsctl.settings import Settings, variable

LAG = 10.0
"""Seconds after which every Service and proxy has noticed that a pod ends; mostly it is one or two."""

BASE_MEMORY = 128
"""MiB of a server with some thousand clients, without its history."""

LONGEST_POLICY = 1800
"""Seconds that `periodSeconds` of an autoscaler may have."""

_PRE_STOP = f"""# Services notice some seconds late that a pod ends. With --drain-delay {LAG:g} the server
# waits for them itself, and this is not needed.
lifecycle:
  preStop:
    exec: {{command: [sleep, "{LAG:g}"]}}"""

_NO_PRE_STOP = "# No preStop: --drain-delay keeps the pod open, but not ready, until Services have noticed."

_NOBODY_ELSE = "# No preStop: there is no other pod for new clients."

_ALONE = """# One pod: more need --redis, to share messages. But a deploy has two for a while, and a client
# that resumes on the new one gets `recovered` false."""

_ONE = """# One pod: a journal belongs to one server. More pods need --redis in its place.
replicas: 1"""

_SURGE = """strategy:
  # A new pod is ready before an old one is asked to end.
  rollingUpdate: {maxUnavailable: 0, maxSurge: 1}"""

_IN_TURN = """# The next pod gets the volume when this one has ended, and nobody takes new clients until then:
# keep --shutdown-timeout short. Clients resume on the next pod, and miss nothing.
updateStrategy: {type: RollingUpdate}
serviceName: wsctl
volumeClaimTemplates:
  # No network file system: the journal does not work there. The claim outlives the StatefulSet.
  - metadata: {name: journal}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: @{storage}Mi}}}"""

_GROUP = """# The volume belongs to this group.
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch"""

_TLS, _KEYS = "/etc/wsctl/tls", "/etc/wsctl/keys"


def values(settings: Settings, place: Place) -> Mapping[str, str]:
    """Return the values of the template: the settings are in the arguments, the secrets in a Secret."""
    _check_probes(settings)
    inside, volumes = container_settings(settings, "k8s"), list(_volumes(settings))
    return container_values(inside, place) | {
        "notes": _notes(settings),
        "secret_flags": _secret_flags(settings),
        **_controller(settings),
        "group": _GROUP if settings.journal else "",
        "sysctls": _sysctls(settings),
        "command": "\n".join(
            f"- {yaml_word(each)}" for each in ["serve", *flags_with_files(inside, _inside)]
        ),
        "environment": "\n".join(_environment(settings)),
        "annotations": _annotations(settings),
        "admin_port": _admin_port(settings),
        "probed": "ws" if settings.admin_port is None else "admin",
        "scheme": "HTTPS" if settings.ssl_certfile and settings.admin_port is None else "HTTP",
        "stop": _stop(settings),
        "memory": str(BASE_MEMORY + (settings.history_bytes >> 20)),
        "mounts": "\n".join([*_journal_mount(settings), *map(_secret_mount, volumes)]),
        "volumes": "\n".join(f"- {{name: {n}, secret: {source}}}" for n, _, source in volumes),
        "ingress": _ingress(settings),
        "service_port": "443" if settings.ssl_certfile else "80",
    }


def _controller(settings: Settings) -> dict[str, str]:
    """Return what the pods are made by: a Deployment, or with a journal a StatefulSet of one pod, of which
    there are never two at a time."""
    if settings.journal:
        update = fill_template(_IN_TURN, {"storage": str(storage(settings.history_bytes))})
        found = {"kind": "StatefulSet", "replicas": _ONE, "update": update, "autoscaler": ""}
    else:
        replicas = "replicas: 2" if settings.redis else f"{_ALONE}\nreplicas: 1"
        hint = read_template("autoscaler.yaml.txt")
        window = {"scale_down": str(min(stop_time(settings), LONGEST_POLICY))}
        autoscaler = fill_template(hint, window)
        found = {"kind": "Deployment", "replicas": replicas, "update": _SURGE, "autoscaler": autoscaler}
    return found | {"resource": found["kind"].lower()}


def _stop(settings: Settings) -> str:
    if settings.journal:
        return _NOBODY_ELSE
    return _PRE_STOP if settings.drain_delay < LAG else _NO_PRE_STOP


def _journal_mount(settings: Settings) -> list[str]:
    path = journal_file(settings)
    return [f"- {{name: journal, mountPath: {json_word(str(path.parent))}}}"] if path else []


def _secret_mount(volume: tuple[str, str, str]) -> str:
    name, folder, _ = volume
    return f"- {{name: {name}, mountPath: {folder}, readOnly: true}}"


def _check_probes(settings: Settings) -> None:
    """Check that the probes have somebody to ask.

    Raises:
        UsageError: an application has all paths.
    """
    if settings.app and settings.admin_port is None:
        text = "k8s asks for the health of an application at its admin address"
        raise UsageError(f"{text}: add --admin-port 9000")


def _annotations(settings: Settings) -> str:
    """Return the annotations by which Prometheus finds the pods; none without an admin address, since it
    would need a token."""
    if settings.admin_port is None:
        return ""
    return f"""annotations:
  prometheus.io/scrape: "true"
  prometheus.io/port: "{settings.admin_port}"
  prometheus.io/path: /metrics"""


def _admin_port(settings: Settings) -> str:
    if settings.admin_port is None:
        return ""
    return f"""# For probes and Prometheus; the Service does not lead to it.
- {{name: admin, containerPort: {settings.admin_port}}}"""


def _inside(name: str) -> str:
    """Return the path of a file in the container: a certificate is where a Secret of type kubernetes.io/tls
    has it."""
    return {"ssl_certfile": f"{_TLS}/tls.crt", "ssl_keyfile": f"{_TLS}/tls.key"}.get(name, f"{_KEYS}/{name}")


def _volumes(settings: Settings) -> Iterable[tuple[str, str, str]]:
    """Yield name, folder and source of the volumes that a Secret fills."""
    if settings.ssl_certfile:
        yield "tls", _TLS, "{secretName: wsctl-tls}"
    if settings.jwt_key:
        yield "keys", _KEYS, "{secretName: wsctl, items: [{key: jwt_key, path: jwt_key}]}"


def _secret_flags(settings: Settings) -> str:
    names = [*OPTIONAL_SECRETS, *secret_names(settings), *(["jwt_key"] if settings.jwt_key else [])]
    return "".join(f" --from-file={name}=FILE" for name in dict.fromkeys(names))


def _notes(settings: Settings) -> str:
    lines = []
    if settings.ssl_certfile:
        lines.append("#   kubectl create secret tls wsctl-tls --cert=FILE --key=FILE")
    if settings.forwarded_allow_ips is None:
        lines.append(
            "# Behind an ingress set --forwarded-allow-ips to its addresses: then the log has the clients'."
        )
    return "\n".join(lines)


def _environment(settings: Settings) -> Iterable[str]:
    for name, text in environment(settings).items():
        yield f"- {{name: {name}, value: {yaml_word(text)}}}"
    before = LAG if _stop(settings) == _PRE_STOP else 0
    yield f'- {{name: {variable("stop_timeout")}, value: "{max(0, stop_time(settings) - before):g}"}}'
    given = secret_names(settings)
    for name in dict.fromkeys([*given, *OPTIONAL_SECRETS]):
        key = f"name: wsctl, key: {name}" + ("" if name in given else ", optional: true")
        yield f"- {{name: {variable(name)}, valueFrom: {{secretKeyRef: {{{key}}}}}}}"


def _sysctls(settings: Settings) -> str:
    if settings.port >= PRIVILEGED_PORTS and not 0 < (settings.admin_port or 0) < PRIVILEGED_PORTS:
        return ""
    return 'sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: "0"}]'


def _ingress(settings: Settings) -> str:
    seconds = idle_timeout(settings)
    silence = f"{seconds} s" if seconds else f"very long ({NEVER})"
    return f"An ingress must allow silence of {silence}: its read timeout, for instance of ingress-nginx."

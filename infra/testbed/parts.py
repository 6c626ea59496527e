"""The command line of every process of the cluster."""

from pathlib import Path

from tidegate.infra.testbed.host.layout import (
    GATEWAY_PORT,
    GATEWAY_TLS_PORT,
    METRICS_PORT,
    NODE,
    NODE_IP,
    POD_CIDR,
    SERVICE_CIDR,
    Layout,
)
from tidegate.infra.testbed.images import build

ETCD = "https://127.0.0.1:12379"
ETCD_PEER = "http://127.0.0.1:12380"  # listened on, never used: there is one member
ISSUER = "https://kubernetes.default.svc.cluster.local"


def etcd(layout: Layout) -> list[str]:
    """Return etcd's command line; it does not sync to disk, because `down` deletes its data anyway."""
    pki = layout.pki
    return [
        "etcd",
        f"--data-dir={layout.state}/etcd",
        "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={ETCD_PEER}",
        f"--cert-file={pki}/etcd.crt",
        f"--key-file={pki}/etcd.key",
        f"--trusted-ca-file={pki}/ca.crt",
        "--client-cert-auth",
    ]


def apiserver(layout: Layout) -> list[str]:
    """Return the API server's command line: TLS, RBAC and the aggregator as in a production cluster."""
    pki = layout.pki
    return [
        str(build.binary(layout.cache, "kube-apiserver")),
        f"--bind-address={NODE_IP}",
        f"--advertise-address={NODE_IP}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--etcd-servers={ETCD}",
        f"--etcd-cafile={pki}/ca.crt",
        f"--etcd-certfile={pki}/etcd.crt",
        f"--etcd-keyfile={pki}/etcd.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        "--authorization-mode=Node,RBAC",
        # WatchList needs etcd 3.4.25: with an older one, watches that start with a list fail, such as kwok's.
        "--feature-gates=WatchList=false",
        "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",  # nothing resolves the node's name
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
    ]


def controllers(layout: Layout) -> list[str]:
    """Return the controller manager's command line."""
    pki = layout.pki
    return [
        str(build.binary(layout.cache, "kube-controller-manager")),
        *_kubeconfigs(f"{pki}/controllers.kubeconfig"),
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--use-service-account-credentials=true",
        # With the defaults, 20 and 30 per second, a thousand Jobs would wait.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        f"--flex-volume-plugin-dir={layout.state}/volume-plugins",  # otherwise it creates one in /usr
    ]


def scheduler(layout: Layout) -> list[str]:
    """Return the scheduler's command line."""
    own = str(build.binary(layout.cache, "kube-scheduler"))
    return [own, *_kubeconfigs(f"{layout.pki}/scheduler.kubeconfig")]


def _kubeconfigs(path: str) -> list[str]:
    flags = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    # There is one process of each, and a leader election would delay the start by seconds.
    return [*(f"--{flag}={path}" for flag in flags), "--bind-address=127.0.0.1", "--leader-elect=false"]


def containerd(layout: Layout) -> list[str]:
    """Return containerd's command line."""
    return ["containerd", "--config", f"{layout.state}/containerd.toml"]


def kubelet(layout: Layout) -> list[str]:
    """Return the kubelet's command line."""
    return [
        str(build.binary(layout.cache, "kubelet")),
        f"--config={layout.state}/kubelet.yaml",
        f"--kubeconfig={layout.pki}/node.kubeconfig",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_IP}",
        f"--root-dir={layout.state}/kubelet",
        f"--cert-dir={layout.state}/kubelet/pki",
    ]


def kube_proxy(layout: Layout) -> list[str]:
    """Return kube-proxy's command line; only its mode iptables serves NodePorts on 127.0.0.1."""
    return [
        str(build.binary(layout.cache, "kube-proxy")),
        f"--kubeconfig={layout.pki}/kube-proxy.kubeconfig",
        f"--hostname-override={NODE}",
        f"--cluster-cidr={POD_CIDR}",
        "--proxy-mode=iptables",
        "--conntrack-max-per-core=0",
    ]


def coredns(layout: Layout) -> list[str]:
    """Return CoreDNS' command line."""
    return [str(build.binary(layout.cache, "coredns")), "-conf", f"{layout.state}/Corefile"]


def traefik(layout: Layout, token: str) -> list[str]:
    """Return the command line of gateway and Ingress controller; `token` is the file of its service account's token."""
    providers = ("--providers.kubernetesgateway", "--providers.kubernetesingress")
    return [
        str(build.binary(layout.cache, "traefik")),
        f"--entrypoints.web.address=127.0.0.1:{GATEWAY_PORT}",
        f"--entrypoints.websecure.address=127.0.0.1:{GATEWAY_TLS_PORT}",
        "--entrypoints.websecure.http.tls=true",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        *(
            f"{provider}{words}"
            for provider in providers
            for words in (
                "=true",
                f".endpoint=https://{NODE_IP}:6443",
                f".token={token}",
                f".certauthfilepath={layout.pki}/ca.crt",
            )
        ),
    ]


def metrics_server(layout: Layout) -> list[str]:
    """Return the metrics server's command line; the autoscaler and `kubectl top` read it through the API server."""
    pki = layout.pki
    kubeconfig = f"{pki}/metrics-server.kubeconfig"
    return [
        str(build.binary(layout.cache, "metrics-server")),
        *(f"--{flag}={kubeconfig}" for flag in ("kubeconfig", "authentication-kubeconfig")),
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={NODE_IP}",
        f"--secure-port={METRICS_PORT}",
        f"--tls-cert-file={pki}/metrics-server.crt",
        f"--tls-private-key-file={pki}/metrics-server.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        "--node-selector=type!=kwok",  # simulated nodes have no kubelet
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",  # it must be shorter
    ]


def kwok(layout: Layout, stages: Path) -> list[str]:
    """Return kwok's command line; `stages` is the file of the state changes of simulated nodes and pods."""
    return [
        str(build.binary(layout.cache, "kwok")),
        f"--kubeconfig={layout.kubeconfig}",
        f"--config={stages}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=40",
    ]

"""A real Kubernetes on this machine, for people who work on Tidegate: `python -m tidegate.infra.testbed up`.

A test tool: API server, kubelet, containers, DNS, S3 and a gateway, each the real thing, built from source
once. Users of Tidegate bring their own cluster (kind, k3s, EKS, GKE) and never need this.
"""

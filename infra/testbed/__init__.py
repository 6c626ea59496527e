"""A real Kubernetes on this machine, for people who work on Tidegate: `python -m tidegate.infra.testbed up`.

A test tool: API server, kubelet, containers, DNS, S3 and a gateway, all real software, built from source once.
Users of Tidegate have their own cluster (kind, k3s, EKS, GKE) and do not need this.
"""

"""The testbed itself: a Job, its logs, a NodePort, S3 with conditions, the gateway.

It needs root; without it the tests fail with the sentence that says so.
"""

import contextlib
import json
import os
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tidegate.infra.system import processes
from tidegate.infra.testbed import cluster
from tidegate.infra.testbed.host.errors import PreconditionError
from tidegate.infra.testbed.host.layout import GATEWAY_PORT, Layout
from tidegate.infra.testbed.host.shell import wait
from tidegate.infra.testbed.images import archives as images
from tidegate.infra.testbed.running import kubectl, kubectl_succeeds

pytestmark = pytest.mark.cluster
WEB = Path(__file__).with_name("web.yaml")


def get(url: str, host: str = "") -> str:
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return str(answer.read().decode())


def answering(url: str, host: str = "") -> bool:
    try:
        return bool(get(url, host))
    except OSError:
        return False


@pytest.mark.usefixtures("before")
def test_a_user_without_root_is_told_so() -> None:
    layout = Layout.default()
    os.seteuid(65534)
    try:
        with pytest.raises(PreconditionError, match="needs root"):
            cluster.up(layout, print)
        with pytest.raises(PreconditionError, match="use sudo"):
            cluster.down(layout)
    finally:
        os.seteuid(0)


def test_every_process_lives_and_a_second_up_changes_none(layout: Layout) -> None:
    first = {record.name: record.pid for record in processes.records(layout.processes)}
    cluster.up(layout, print)
    assert {record.name: record.pid for record in processes.records(layout.processes)} == first
    found = cluster.status(layout)
    assert found == dict.fromkeys(sorted(name for names in cluster.STOPS for name in names), True)


def test_a_job_runs_and_its_logs_are_readable(layout: Layout) -> None:
    images.load(layout, images.base(layout))
    assert images.BASE in images.loaded(layout)
    kubectl(layout, "apply", "-f", str(WEB))
    kubectl(layout, "wait", "--for=condition=Complete", "job/hello", "--timeout=60s")
    assert kubectl(layout, "logs", "job/hello") == "hello by s3.testbed.svc.cluster.local\n"


def test_a_node_port_answers_on_loopback(layout: Layout) -> None:
    kubectl(layout, "rollout", "status", "deployment/web", "--timeout=60s")
    url = "http://127.0.0.1:30080/debian_version"
    wait("the NodePort", lambda: answering(url), 10)
    assert get(url).startswith("12.")


@pytest.mark.usefixtures("layout")
def test_the_gateway_routes_by_host() -> None:
    url = f"http://127.0.0.1:{GATEWAY_PORT}/debian_version"
    wait("the route", lambda: answering(url, "web.test"), 20)
    assert get(url, "web.test").startswith("12.")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(url, "other.test")


def test_s3_keeps_what_it_got_and_honours_conditions(layout: Layout) -> None:
    keys = json.loads(layout.s3_credentials.read_bytes())
    s3 = boto3.client(
        "s3",
        endpoint_url=keys["endpoint"],
        aws_access_key_id=keys["access_key"],
        aws_secret_access_key=keys["secret_key"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    bucket = f"things-{uuid.uuid4()}"
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):  # made by a call whose answer was lost
        s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="a/b", Body=b"second", IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"first"


def test_rbac_is_enforced(layout: Layout) -> None:
    as_default = "--as=system:serviceaccount:default:default"
    assert not kubectl_succeeds(layout, "get", "secrets", "-n", "testbed", as_default)
    assert kubectl_succeeds(layout, "get", "secrets", "-n", "testbed")

"""Topics as publishers and subscribers see them: a function, queues, an HTTP endpoint, and a daemon that is killed."""

import base64
import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import docker
import pytest
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from tests.docker.house import House, eventually, house, unique
from tests.docker.witness import CLIENT, Witness
from tests.docker.witness import witness as listening

pytestmark = pytest.mark.docker

MESSAGES = 120
KILL_EVERY = 30
TELL = CLIENT + "def handler(event, context):\n    tell(event['Records'][0]['Sns']['Message'])\n"


@dataclass
class Listener:
    """What an HTTP endpoint was sent: headers and body of each request."""

    url: str = ""
    heard: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [body for headers, body in self.heard if headers["x-amz-sns-message-type"] == kind]


@contextmanager
def endpoint() -> Iterator[Listener]:
    """Listens on this host while the `with` lasts."""
    found = Listener()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}/sns"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def client(subject: House, service: str) -> Any:
    """A boto3 client that repeats what was not answered, as AWS's clients do."""
    return boto3.client(
        service,
        endpoint_url=subject.variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=subject.variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=subject.variables["AWS_SECRET_ACCESS_KEY"],
        region_name=subject.variables["AWS_REGION"],
        config=Config(retries={"total_max_attempts": 3}, proxies={}),
    )


def subscribed(subject: House, witness: Witness, topic: str) -> str:
    """A function that tells the test what it gets, subscribed to the topic."""
    name = subject.create("told", TELL, variables={"WITNESS": witness.address})
    subject.api.add_permission(
        FunctionName=name,
        StatementId="sns",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    arn = subject.api.get_function_configuration(FunctionName=name)["FunctionArn"]
    client(subject, "sns").subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
    return name


def verify(body: dict[str, Any]) -> None:
    """As AWS describes it, with the certificate that the message names."""
    with urllib.request.urlopen(body["SigningCertURL"], timeout=10) as page:
        key = x509.load_pem_x509_certificate(page.read()).public_key()
    names = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    words = "".join(f"{name}\n{body[name]}\n" for name in names if name in body)
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(base64.b64decode(body["Signature"]), words.encode(), padding.PKCS1v15(), SHA1())


def test_a_message_reaches_a_function_and_a_queue_in_order(hearth: House, witness: Witness) -> None:
    sns, sqs = client(hearth, "sns"), client(hearth, "sqs")
    topic = sns.create_topic(Name=unique("orders"))["TopicArn"]
    subscribed(hearth, witness, topic)
    sns.publish(TopicArn=topic, Message="hello")
    eventually(lambda: witness.lines() == ["hello"], "the function has the message")
    fifo = sns.create_topic(
        Name=unique("orders") + ".fifo", Attributes={"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    )["TopicArn"]
    url = sqs.create_queue(QueueName=unique("orders") + ".fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=fifo, Protocol="sqs", Endpoint=queue, Attributes={"RawMessageDelivery": "true"})
    for number in range(20):
        for _ in range(2):
            sns.publish(TopicArn=fifo, Message=f"m{number}", MessageGroupId="g")
    bodies: list[str] = []

    def collected() -> bool:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        for message in found:
            bodies.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(bodies) >= 20

    eventually(collected, "the queue has every message")
    assert bodies == [f"m{number}" for number in range(20)]


def test_an_endpoint_confirms_and_verifies_what_it_gets(docker_engine: docker.DockerClient) -> None:
    with house(docker_engine, {"WEBHOOK_REACH": "everywhere"}) as subject, endpoint() as listener:
        sns = client(subject, "sns")
        topic = sns.create_topic(Name="news")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=listener.url)
        eventually(lambda: bool(listener.of("SubscriptionConfirmation")), "the endpoint is asked")
        (question,) = listener.of("SubscriptionConfirmation")
        verify(question)
        with urllib.request.urlopen(question["SubscribeURL"], timeout=10) as page:
            assert page.status == 200
        told = sns.publish(TopicArn=topic, Message="hello", Subject="Greeting")["MessageId"]
        eventually(lambda: bool(listener.of("Notification")), "the endpoint has the message")
        (message,) = listener.of("Notification")
        verify(message)
        assert (message["MessageId"], message["Message"], message["Subject"]) == (told, "hello", "Greeting")
        with urllib.request.urlopen(message["UnsubscribeURL"], timeout=10) as page:
            assert page.status == 200
        assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_no_message_that_was_acknowledged_is_lost_when_the_daemon_is_killed(docker_engine: docker.DockerClient) -> None:
    with house(docker_engine) as subject, listening(subject.gateway()) as witness:
        topic = client(subject, "sns").create_topic(Name="chaos")["TopicArn"]
        subscribed(subject, witness, topic)
        sns = client(subject, "sns")
        expected = set()
        for number in range(MESSAGES):
            sns.publish(TopicArn=topic, Message=f"m{number}")
            expected.add(f"m{number}")
            if number % KILL_EVERY == KILL_EVERY - 1:
                subject.kill()
                subject.up()
                sns = client(subject, "sns")
        eventually(lambda: set(witness.lines()) == expected, "every message was handled", 120)
        print(f"{len(witness.lines()) - MESSAGES} of {MESSAGES} messages were handled again", flush=True)

"""What topics send is signed the way SNS signs, so that its verifiers verify it."""

import base64

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.topic_messages import words_to_sign
from hearth_gateway.topics.signing import TopicSigner, new_key

PEM = new_key()
SIGNER = TopicSigner(PEM)


def verify(words: str, signature: str, version: str = "1") -> None:
    """As a receiver does it, with the certificate alone."""
    public = x509.load_pem_x509_certificate(SIGNER.certificate).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    hashes = {"1": SHA1, "2": SHA256}
    public.verify(base64.b64decode(signature), words.encode(), padding.PKCS1v15(), hashes[version]())


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_certificate_proves_the_signature(version: str) -> None:
    verify("Message\nhello\n", SIGNER.sign("Message\nhello\n", version), version)


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.data())
def test_a_signature_is_for_its_words_only(words: str, data: st.DataObject) -> None:
    other = data.draw(st.text(st.characters(codec="utf-8")).filter(lambda text: text != words))
    with pytest.raises(InvalidSignature):
        verify(other, SIGNER.sign(words, "1"))


def test_the_certificate_is_the_same_after_every_start() -> None:
    assert TopicSigner(PEM).certificate == SIGNER.certificate


def test_the_members_of_a_notification_are_signed_in_the_order_of_their_names() -> None:
    """The example of "Verifying the signatures of Amazon SNS messages"."""
    content = {
        "Type": "Notification",
        "MessageId": "4d4dc071-ddbf-465d-bba8-08f81c89da64",
        "TopicArn": "arn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P",
        "Subject": "My subject",
        "Message": "Test message",
        "Timestamp": "2019-01-31T04:37:04.321Z",
        "UnsubscribeURL": "https://…",
    }
    assert words_to_sign(content) == (
        "Message\nTest message\nMessageId\n4d4dc071-ddbf-465d-bba8-08f81c89da64\nSubject\nMy subject\n"
        "Timestamp\n2019-01-31T04:37:04.321Z\nTopicArn\narn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P\n"
        "Type\nNotification\n"
    )

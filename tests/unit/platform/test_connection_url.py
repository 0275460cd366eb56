"""URLs of connections: what they say, what is refused, and that no secret gets out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.core.connection_url import (
    BadConnectionUrl,
    ClusterRedis,
    HostPort,
    Login,
    SentinelRedis,
    SingleRedis,
    SqsService,
    Tls,
    UnixSocket,
    masked,
    parse_connection_url,
    parse_redis_url,
)

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "meaning"),
    [
        ("redis://h", SingleRedis(HostPort("h", 6379))),
        ("redis://u:p%40%2F@h:7/3", SingleRedis(HostPort("h", 7), Login("u", "p@/"), database=3)),
        ("redis://:p@h", SingleRedis(HostPort("h", 6379), Login("", "p"))),
        ("redis://[::1]:7", SingleRedis(HostPort("::1", 7))),
        ("redis://[::1]", SingleRedis(HostPort("::1", 6379))),
        ("rediss://h", SingleRedis(HostPort("h", 6379), tls=Tls())),
        (
            "rediss://h?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem&ssl_check_hostname=false",
            SingleRedis(HostPort("h", 6379), tls=Tls("/ca.pem", "/c.pem", "/k.pem", checks_hostname=False)),
        ),
        (
            "rediss://h?ssl_cert_reqs=none",
            SingleRedis(HostPort("h", 6379), tls=Tls(is_verified=False, checks_hostname=False)),
        ),
        ("unix:///run/redis.sock?db=2", SingleRedis(UnixSocket("/run/redis.sock"), database=2)),
        ("unix://u:p@/run/r.sock", SingleRedis(UnixSocket("/run/r.sock"), Login("u", "p"))),
        (
            "redis+sentinel://u:p@a:1,b/main/2?sentinel_password=q",
            SentinelRedis(
                (HostPort("a", 1), HostPort("b", 26379)),
                "main",
                Login("u", "p"),
                database=2,
                sentinel_login=Login("", "q"),
            ),
        ),
        ("rediss+sentinel://a/main", SentinelRedis((HostPort("a", 26379),), "main", tls=Tls())),
        ("redis+cluster://a:1,[::2]:3", ClusterRedis((HostPort("a", 1), HostPort("::2", 3)))),
        ("rediss+cluster://:p@a", ClusterRedis((HostPort("a", 6379),), Login("", "p"), Tls())),
        ("sqs+http://k:s%2F@h:9324/eu-west-1", SqsService("http://h:9324", "eu-west-1", "k", "s/")),
        ("sqs+https://k:s@h/us-east-1", SqsService("https://h", "us-east-1", "k", "s")),
    ],
)
def test_every_scheme_says_where_how_and_as_whom(url: str, meaning: object) -> None:
    assert parse_connection_url(url) == meaning


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "begins with redis"),
        ("http://h", "begins with redis"),
        ("redis://", "host that is empty"),
        (f"redis://u:{SECRET}@h:0", "port"),
        (f"redis://u:{SECRET}@h:99999999999999", "port"),
        (f"redis://u:{SECRET}@h:x", "port"),
        (f"redis://u:{SECRET}@h/x", "database"),
        (f"redis://u:{SECRET}@{SECRET}@h", "%40"),
        (f"redis://u:{SECRET}#x@h", "%23"),
        (f"redis://u:{SECRET} @h", "spaces"),
        (f"redis://u:{SECRET}@h,i", "several"),
        (f"redis://u:{SECRET}@h?x={SECRET}", "option"),
        (f"redis://u:{SECRET}@h?ssl_cert_reqs=none", "option"),
        (f"rediss://u:{SECRET}@h?ssl_cert_reqs=maybe", "required or none"),
        (f"rediss://u:{SECRET}@h?ssl_certfile=/c", "two files"),
        (f"rediss://u:{SECRET}@h?ssl_check_hostname=x", "true or false"),
        (f"unix://u:{SECRET}@h/run", "three slashes"),
        (f"redis+sentinel://u:{SECRET}@h", "service"),
        (f"redis+cluster://u:{SECRET}@h/1", "one database"),
        (f"sqs+http://k:{SECRET}@h", "region"),
        (f"sqs+http://k:{SECRET}@/r", "region"),
        ("sqs+http://k@h/r", "region"),
        (f"redis://u:{SECRET}@[h", "bracket"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(url: str, words: str) -> None:
    with pytest.raises(BadConnectionUrl, match=words) as refused:
        parse_connection_url(url)
    assert SECRET not in str(refused.value)
    assert SECRET not in masked(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:s3cret@h", "redis://u:****@h:6379/0"),
        ("redis://u@h", "redis://u@h:6379/0"),
        ("rediss://:s3cret@h?ssl_cert_reqs=none", "rediss://:****@h:6379/0?ssl_cert_reqs=none"),
        ("unix://:s3cret@/r.sock?db=1", "unix://:****@/r.sock?db=1"),
        (
            "redis+sentinel://:s3cret@a,b/m?sentinel_password=s3cret",
            "redis+sentinel://:****@a:26379,b:26379/m/0?sentinel_password=****",
        ),
        ("rediss+cluster://:s3cret@a", "rediss+cluster://:****@a:6379"),
        ("sqs+http://k:s3cret@h:1/r", "sqs+http://k:****@h:1/r"),
    ],
)
def test_a_masked_url_shows_all_but_the_secret(url: str, shown: str) -> None:
    assert masked(url) == shown


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    for candidate in (text, f"redis://{text}", f"redis+sentinel://{text}", f"sqs+http://{text}", f"rediss://h?{text}"):
        try:
            parse_connection_url(candidate)
        except BadConnectionUrl:
            continue


@given(st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=12, max_size=20))
def test_no_repr_and_no_mask_shows_a_password(password: str) -> None:
    for url in (
        f"redis://user:{password}@h",
        f"redis+sentinel://user:{password}@h/s?sentinel_password={password}",
        f"redis+cluster://user:{password}@h",
        f"sqs+https://key:{password}@h/r",
    ):
        assert password not in repr(parse_connection_url(url))
        assert password not in masked(url)


def test_an_sqs_is_no_redis() -> None:
    with pytest.raises(BadConnectionUrl, match="SQS"):
        parse_redis_url("sqs+http://k:s@h/r")

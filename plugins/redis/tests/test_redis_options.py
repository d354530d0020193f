"""Where the servers are and how to connect, as users write it; and that no secret is ever shown."""

import pickle

import pytest
from mcp_orchestra_redis import RedisOptions, RedisStore
from mcp_orchestra_redis.address import Address
from pydantic import ValidationError

SECRET = "hunter2-correct-horse"


@pytest.mark.parametrize(
    ("url", "kind", "places", "database", "service"),
    [
        ("redis://cache", "single", [("cache", 6379)], 0, ""),
        ("redis://cache:7000/3", "single", [("cache", 7000)], 3, ""),
        ("redis://[::1]:7000", "single", [("::1", 7000)], 0, ""),
        ("unix:///run/redis.sock", "single", [("/run/redis.sock", 0)], 0, ""),
        ("redis+sentinel://a,b:7/mymaster", "sentinel", [("a", 26379), ("b", 7)], 0, "mymaster"),
        ("redis+sentinel://a/mymaster/2", "sentinel", [("a", 26379)], 2, "mymaster"),
        ("redis+cluster://a:1,b,[::1]:2", "cluster", [("a", 1), ("b", 6379), ("::1", 2)], 0, ""),
    ],
)
def test_an_address_names_servers_and_what_is_on_them(url, kind, places, database, service):
    address = Address.parse(url)
    assert (address.kind, list(address.places), address.database, address.service) == (kind, places, database, service)
    assert not address.tls
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel", "rediss+cluster"])
def test_a_second_s_asks_for_tls(scheme):
    address = Address.parse(f"{scheme}://h/service" if "sentinel" in scheme else f"{scheme}://h")
    assert address.tls
    assert str(address).startswith(f"{scheme}://h")


def test_user_name_and_password_are_decoded_and_not_shown():
    address = Address.parse(f"redis://us%40er:{SECRET}%2F@h:1/2")
    assert (address.username, address.password) == ("us@er", f"{SECRET}/")
    assert str(address) == "redis://h:1/2"
    assert SECRET not in repr(address)
    assert Address.parse("redis://:only-a-password@h").username is None


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("localhost:6379", "must start with redis://"),
        ("http://h", "must start with redis://"),
        (f"redis://:{SECRET}@h?db=1", "options stand beside it"),
        (f"redis://user:{SECRET}/x@h", "write characters such as /"),
        (f"redis://:{SECRET}@", "must name a host"),
        ("redis://h:0", "port other than 0"),
        ("redis://h:99999", "hosts such as name, name:6379"),
        ("redis://[::1", "is not a valid address"),
        ("redis://a,b", "several are for"),
        ("redis://h/x", "number of a database"),
        ("redis+sentinel://h", "must name the service"),
        ("redis+cluster://h/1", "no numbered databases"),
        ("unix://run/redis.sock", "must name a socket"),
        ("redis://h/1\n", "control characters"),
    ],
)
def test_what_is_no_address_is_explained_without_being_quoted(url, complaint):
    with pytest.raises(ValidationError) as caught:
        RedisOptions.model_validate({"url": url})
    assert complaint in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"url": f"redis://:{SECRET}@h", "password": SECRET}, "not in both"),
        ({"username": "me"}, "username needs a password"),
        ({"ca_certs": "ca.pem"}, "begin url with rediss"),
        ({"check_hostname": False}, "begin url with rediss"),
        ({"url": "rediss://h", "keyfile": "key.pem"}, "keyfile needs certfile"),
        ({"sentinel_password": SECRET}, "redis+sentinel"),
        ({"url": "redis+sentinel://h/s", "sentinel_username": "me"}, "needs sentinel_password"),
        ({"namespace": "a*"}, "letters, digits"),
        ({"namespace": ""}, "letters, digits"),
        ({"namespace": "a:entry"}, "a part called entry"),
        ({"socket_timeout": 0}, "greater than 0"),
        ({"socket_timeout": float("inf")}, "socket_timeout"),
        ({"socket_timeout": "1"}, "valid number"),
        ({"max_connections": 0}, "greater than or equal to 1"),
        ({"timeout": 0.0}, "greater than 0"),
        ({"pasword": SECRET}, "Extra inputs"),
        ({"password": 12345678}, "valid string"),
        ({"url": f"redis://u:{SECRET}@h", "certfile": "ours.pem"}, "begin url with rediss"),
        ({"url": f"redis+sentinel://u:1234/{SECRET}@host/0"}, "must not contain @ after the hosts"),
        ({"url": f"redis+sentinel://u:1234/{SECRET}@host"}, "must not contain @ after the hosts"),
        ({"url": f"redis://u:12/{SECRET}@host"}, "must not contain @ after the hosts"),
        ({"url": [SECRET]}, "valid string"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, complaint):
    with pytest.raises(ValidationError) as caught:
        RedisOptions.model_validate(options)
    assert complaint in str(caught.value)
    for shown in (str(caught.value), str(caught.value.errors()), caught.value.json()):
        assert SECRET not in shown
        assert "12345678" not in shown


@pytest.mark.parametrize(
    "options",
    [
        {"url": f"redis://{SECRET}-user:{SECRET}@h"},
        {"username": f"{SECRET}-user", "password": SECRET},
        {"url": "redis+sentinel://h/s", "sentinel_username": SECRET, "sentinel_password": SECRET},
    ],
)
def test_neither_options_nor_a_store_show_user_names_or_passwords(options):
    options = RedisOptions.model_validate(options)
    store = RedisStore(options)
    dumped = f"{options.model_dump()} {options.model_dump_json()} {vars(options)}"
    shown = f"{options!r} {options} {store!r} {store} {dumped}"
    store.close()
    assert SECRET not in shown
    assert str(options.address) in shown


def test_a_password_is_taken_from_the_address_or_from_beside_it():
    assert RedisOptions(url="redis://u:p@h").login == ("u", "p")
    assert RedisOptions.model_validate({"url": "redis://u@h", "password": "p"}).login == ("u", "p")
    assert RedisOptions.model_validate({"username": "u", "password": "p"}).login == ("u", "p")
    assert RedisOptions().login == (None, None)


@pytest.mark.parametrize(
    "url", ["redis://{}h:1/2", "unix://{}/run/a%20b.sock", "redis+sentinel://{}h,g:1/s", "rediss+cluster://{}h,[::1]:2"]
)
def test_an_address_loses_nothing_but_its_login(url):
    options = RedisOptions(url=url.format(f"us%40er:{SECRET}%2F@"))
    assert options.url == url.format("")
    assert options.login == ("us@er", f"{SECRET}/")


def test_options_can_be_sent_to_another_process():
    options = RedisOptions.model_validate({"username": "u", "password": "p"})
    assert pickle.loads(pickle.dumps(options)).login == options.login

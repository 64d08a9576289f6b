"""Senders at the edge: who is let in, by what, to which streams, how much, and
what the others are told; limits are exact and hurt nobody else."""

import base64
import datetime
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error

import pytest

from env import spool
from env.bodies import CHUNKED, answer
from env.build import ROOT
from env.doors import DOORS, OTLP_BYTES
from env.edge import Edge, ShippedBroker, make_certificate
from env.grpc import Client
from env.http import get, metrics, post
from env.nginx import Nginx
from env.process import free_port, wait_for

TOKEN = "tests-0123456789abcdef"


def sha(token):
    return hashlib.sha256(token.encode()).hexdigest()


def sender(name, *tokens, more=""):
    return " ".join(["logbroker_sender", name,
                     *(f"token={sha(t)}" for t in tokens), more]) + ";\n"


def bearer(token=TOKEN):
    return {"Authorization": f"Bearer {token}"}


def basic(text):
    return base64.b64encode(text.encode()).decode()


SHOP = sender("shop", TOKEN)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    b = ShippedBroker(tmp_path_factory.mktemp("broker"), size="64m")
    wait_for(lambda: post(b.port, "{}")[0] == 204, what="a ring")
    yield b
    b.stop()


@pytest.fixture(scope="module")
def edge(broker, tmp_path_factory):
    """With one sender, and no limit on guesses: that has a test of its own."""
    e = Edge(tmp_path_factory.mktemp("edge"), [broker.port],
             grpc=[broker.grpc], replace=[("rate=5r/s", "rate=9999r/s")],
             senders=SHOP + sender("gone", "late", more="expires=2020-01-31"))
    yield e
    e.stop()


def stats(edge, name=None):
    s = json.loads(get(edge.figures, "/cluster/senders")[1])
    return s if name is None else \
        next(x for x in s["senders"] if x["name"] == name)


def reload(edge, text):
    """The file says something else; returns when new workers alone answer."""
    edge.senders.write_text(text)
    pids = wait_for(edge.workers, 20, "the first workers")
    edge.send(signal.SIGHUP)
    wait_for(lambda: not set(pids) & set(edge.workers()), 20, "new workers")


@pytest.mark.parametrize("headers", [
    {"Authorization": f"Bearer {TOKEN}"},
    {"Authorization": f"bearer  {TOKEN}"},
    {"Authorization": f"Splunk {TOKEN}"},
    {"Authorization": f"ApiKey {TOKEN}"},
    {"Authorization": f"ApiKey {basic('id:' + TOKEN)}"},
    {"Authorization": f"Basic {basic('anybody:' + TOKEN)}"},
    {"Authorization": f"Basic {basic(TOKEN + ':')}"},
    {"Authorization": f"Basic {basic('t:' + TOKEN)}", "X-Scope-OrgID": "t"},
    {"DD-API-KEY": TOKEN},
    {"X-Amz-Firehose-Access-Key": TOKEN},
    {"X-API-Key": TOKEN},
    {"Authorization": f"Bearer {TOKEN}", "DD-API-KEY": "other"},
], ids=str)
def test_ways_to_say_it(edge, headers):
    assert post(edge.port, "{}", headers=headers)[0] == 204


def test_datadog_in_the_address(edge):
    body = '[{"message":"x"}]'
    for path in (f"/v1/input/{TOKEN}", f"/api/v2/logs?dd-api-key={TOKEN}"):
        assert post(edge.port, body, path=path)[0] in (200, 202), path
        assert post(edge.port, body, path=path + "x")[0] == 401
    assert TOKEN not in edge.access_log.read_text()


@pytest.mark.parametrize("headers, words", [
    ({}, "say who you are"),
    ({"Authorization": f"Digest {TOKEN}"}, "say who you are"),
    ({"Authorization": TOKEN}, "say who you are"),
    ({"Authorization": "Bearer"}, "say who you are"),
    ({"Authorization": f"Basic {TOKEN}"}, "say who you are"),
    ({"Authorization": "Basic ===="}, "say who you are"),
    ({"Authorization": f"Basic {basic(TOKEN)}"}, "say who you are"),
    ({"Authorization": f"Bearer {TOKEN}x"}, "not known here"),
    ({"Authorization": f"Bearer {TOKEN[:-1]}"}, "not known here"),
    ({"Authorization": f"Bearer {TOKEN.upper()}"}, "not known here"),
    ({"Authorization": f"Bearer {sha(TOKEN)}"}, "not known here"),
    ({"Authorization": f"Bearer {'x' * 7000}"}, "not known here"),
    ({"Authorization": f"ApiKey {'A' * 7000}"}, "not known here"),
    ({"Authorization": "Bearer x", "DD-API-KEY": TOKEN}, "not known here"),
    ({"Authorization": "Bearer late"}, "has expired"),
    ({"X-Logbroker-Streams": "default"}, "say who you are"),
], ids=lambda v: str(v)[:50])
def test_everybody_else(edge, broker, headers, words):
    before = broker.status()["accepted"]["events"]
    for body in ("{}", "x" * 300000, iter([b"{", b"}"])):
        status, got, said = post(edge.port, body, headers=headers)
        assert (status, words in json.loads(said)["error"]) == (401, True), said
        assert got["WWW-Authenticate"].startswith("Bearer")
    assert broker.status()["accepted"]["events"] == before


def test_a_header_that_is_huge(edge):
    got = answer(edge.port, b"POST /log HTTP/1.1\r\nHost: a\r\nAuthorization: "
                 b"Bearer " + b"x" * 40000 + b"\r\nContent-Length: 2\r\n\r\n{}")
    assert got.startswith(b"HTTP/1.1 431")
    many = b"".join(b"Authorization: Bearer %d\r\n" % i for i in range(200))
    got = answer(edge.port, b"POST /log HTTP/1.1\r\nHost: a\r\n" + many +
                 b"Content-Length: 2\r\n\r\n{}")
    assert got.split()[1] in (b"400", b"401")


@pytest.mark.parametrize("name", DOORS)
def test_each_door_in_its_words(edge, name):
    door = DOORS[name]
    for token, words in ((None, "say who you are"), ("no", "not known here"),
                         ("late", "has expired")):
        status, got, body = post(edge.port, door.body, door.path, {
            **door.headers, **(bearer(token) if token else {})})
        assert status == 401
        assert got["Content-Type"].startswith(door.tells.type)
        assert words in door.tells.words(body)[1]
    assert post(edge.port, door.body, door.path,
                {**door.headers, **bearer()})[0] == door.ok


def test_grpc(edge):
    with Client(edge.grpc) as c:
        assert c.export(b"", headers=[("authorization", f"Bearer {TOKEN}")]) \
            == b""
        for token, words in (("no", "not known"), ("late", "expired")):
            code, said, _ = c.refused(b"", headers=[("authorization",
                                                     f"Bearer {token}")])
            assert code == "UNAUTHENTICATED" and words in said
        assert c.refused(b"")[0] == "UNAUTHENTICATED"


@pytest.mark.parametrize("limit, words", [
    ("bytes=1", "more than you may"), ("quota=1", "after midnight UTC")])
def test_limits_in_the_words_of_each_door(broker, make_edge, limit, words):
    """503 everywhere, and of gRPC UNAVAILABLE, in a second again: what clients
    send again."""
    edge = make_edge([broker.port], grpc=[broker.grpc],
                     senders=sender("shop", TOKEN, more=limit))
    # all that there is; of bytes more
    body = "x" if limit == "quota=1" else "x" * 5000
    assert post(edge.port, body, headers={
        "Content-Type": "text/plain", **bearer()})[0] == 204
    for door in DOORS.values():
        status, got, body = post(edge.port, door.body, door.path,
                                 {**door.headers, **bearer()})
        assert (status, got["Retry-After"]) == (503, "1"), door.path
        assert got["Content-Type"].startswith(door.tells.type)
        code, said = door.tells.words(body)
        assert (code, words in said) == (door.codes[2], True)
    with Client(edge.grpc) as c:
        code, said, info = c.refused(OTLP_BYTES, headers=[
            ("authorization", f"Bearer {TOKEN}")])
    assert code == "UNAVAILABLE" and words in said
    assert info == (14, said, 1)


def test_pages_ask_without_a_token(edge):
    """OPTIONS: the broker answers, nothing is stored by it."""
    conn = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=10)
    conn.request("OPTIONS", "/services/collector/event")
    assert conn.getresponse().status == 200
    conn.close()


def test_what_is_open(edge):
    assert get(edge.port, "/health")[1] == "ok\n"
    with pytest.raises(urllib.error.HTTPError) as e:
        get(edge.port, "/nowhere")
    assert e.value.code == 404


def test_guesses_are_limited(broker, make_edge):
    edge = make_edge([broker.port], senders=SHOP)
    began = time.monotonic()
    statuses = [post(edge.port, "{}", headers=bearer(str(i)))[0]
                for i in range(100)]
    seconds = time.monotonic() - began
    assert set(statuses) == {401, 503}
    assert statuses.count(401) <= 22 + 5 * seconds
    # who knows a token is no guesser, from the same address
    assert {post(edge.port, "{}", headers=bearer())[0] for _ in range(50)} \
        == {204}
    assert stats(edge)["wrong"] == statuses.count(401)


def test_streams(broker, make_edge):
    edge = make_edge([broker.port], senders=sender(
        "shop", TOKEN, more="streams=shop,till-*") + sender(
        "any", "any", more="streams=any,*"))

    def ok(path, body="{}", token=TOKEN, **headers):
        return post(edge.port, body, path, {**bearer(token), **headers})

    assert ok("/log/shop")[0] == ok("/log/till-3")[0] == ok("/log")[0] == 204
    for path in ("/log/default", "/log/shop2", "/log/till", "/log/Shop"):
        status, _, body = ok(path)
        assert (status, b"this stream" in body) == (403, True), path
    assert ok("/log/x", token="any")[0] == ok("/log", token="any")[0] == 204
    # what a client says of itself counts for nothing
    assert ok("/log/x", **{"X-Logbroker-Streams": "x"})[0] == 403

    # of Elasticsearch an item is refused, as others that are wrong
    bulk = "".join(f'{{"create":{{"_index":"{i}"}}}}\n{{"m":"{i}"}}\n'
                   for i in ("shop", "bank", "till-9-2026.11.26"))
    status, _, body = ok("/es/_bulk", bulk)
    items = [i["create"]["status"] for i in json.loads(body)["items"]]
    assert (status, items) == (200, [201, 400, 201]), body
    status, _, body = ok("/bank/_bulk", '{"create":{}}\n{"m":1}\n')
    assert json.loads(body)["items"][0]["create"]["status"] == 400
    # of Splunk an envelope
    status, _, body = ok("/services/collector", '{"event":"a","index":"bank"}')
    assert (status, json.loads(body)["code"]) == (400, 7)
    assert ok("/services/collector", '{"event":"a","index":"shop"}')[0] == 200
    assert ok("/services/collector", '{"event":"a"}')[0] == 200
    assert ok("/services/collector/raw?index=%62ank", "a")[0] == 400
    assert ok("/services/collector/raw?index=shop", "a")[0] == 200
    # of Loki the tenant
    push = '{"streams":[{"stream":{"a":"b"},"values":[["1","x"]]}]}'
    for tenant, expected in (("shop", 204), ("bank", 403)):
        assert ok("/loki/api/v1/push", push, **{
            "X-Scope-OrgID": tenant,
            "Content-Type": "application/json"})[0] == expected
    # they are where they belong, and nowhere else
    streams = {r.stream for r in spool.records(broker.dir / "spool")}
    assert {"shop", "till-3", "any", "x"} <= streams
    assert not streams & {"bank", "shop2", "till", "Shop"}


def rate(edge, headers, seconds, body="{}"):
    """Statuses of one that sends as fast as it can, and how long it did: each on
    a connection of its own, to any worker."""
    statuses = []
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        status, got, text = post(edge.port, body, headers=headers)
        if status != 204:
            assert status == 503 and got["Retry-After"] == "1", status
            assert b"more than you may" in text
        statuses.append(status)
    return statuses, time.monotonic() - began


def test_twenty_senders(broker, make_edge):
    """One runs wild and another one sends too many bytes: each gets what it
    may, to the request, of all workers together; eighteen others notice
    nothing."""
    edge = make_edge([broker.port], replace=[
        ("worker_processes 1;", "worker_processes 2;")], senders="".join([
        sender("wild", "wild", more="requests=50"),
        sender("large", "large", more="bytes=100k"),
        *(sender(f"team-{i}", f"team-{i}", more="requests=1000 bytes=10m")
          for i in range(18))]))
    got, slow = {}, []
    stop = threading.Event()

    def run(name, body):
        got[name] = rate(edge, bearer(name), 3, body)

    def team(i):
        statuses = []
        while not stop.is_set():
            began = time.monotonic()
            statuses.append(post(edge.port, "{}",
                                 headers=bearer(f"team-{i}"))[0])
            slow.append(time.monotonic() - began)
            stop.wait(0.1)
        got[f"team-{i}"] = statuses

    threads = [threading.Thread(target=run, args=("wild", "{}")),
               threading.Thread(target=run, args=(
                   "large", json.dumps({"m": "x" * 10232}))),
               *(threading.Thread(target=team, args=(i,)) for i in range(18))]
    for t in threads:
        t.start()
    threads[0].join()
    threads[1].join()
    stop.set()
    for t in threads:
        t.join()

    for i in range(18):
        assert set(got[f"team-{i}"]) == {204}
    statuses, seconds = got["wild"]
    assert statuses.count(503) > 50
    # a second's worth at once, then as many as there are seconds
    assert 50 * seconds - 5 <= statuses.count(204) <= 50 * (seconds + 1) + 1
    statuses, seconds = got["large"]
    assert 10 * seconds - 2 <= statuses.count(204) <= 10 * (seconds + 1) + 2
    assert sorted(slow)[len(slow) // 2] < 0.5

    # and all of it is told
    m = metrics(get(edge.figures, "/metrics")[1])
    for name in ("wild", "large"):
        label = f'{{sender="{name}"}}'
        assert m["logbroker_sender_stored_requests_total" + label] == \
            got[name][0].count(204)
        why = "requests" if name == "wild" else "bytes"
        assert m["logbroker_sender_refused_requests_total"
                 f'{{sender="{name}",reason="{why}"}}'] == \
            got[name][0].count(503)
    for i in range(18):
        s = stats(edge, f"team-{i}")
        assert s["stored"] == len(got[f"team-{i}"]) == s["bytes"] / 2
        assert s["failed"] == sum(s["refused"].values()) == 0


def test_quota(broker, make_edge):
    """Of bytes that are stored, to the byte; it outlives a reload, and what was
    refused does not count."""
    if datetime.datetime.now(datetime.timezone.utc).strftime("%H%M") == "2359":
        time.sleep(60)
    text = sender("shop", TOKEN, more="quota=1000")
    edge = make_edge([broker.port], senders=text)
    body = '"' + "x" * 298 + '"'
    for _ in range(2):
        assert post(edge.port, json.dumps({"m": "x" * 291}),
                    headers=bearer())[0] == 204
    used = stats(edge, "shop")["used"]
    assert used == 600
    assert post(edge.port, body, headers=bearer())[0] == 400
    wait_for(lambda: stats(edge, "shop")["used"] == 600, 5, "what was refused")
    # more than what is left
    status, got, said = post(edge.port, "{" + " " * 400 + "}", headers=bearer())
    assert (status, got["Retry-After"]) == (503, "1")
    assert "after midnight UTC" in json.loads(said)["error"]
    reload(edge, text.replace("quota", "requests=9 quota") + sender("b", "b"))
    assert stats(edge, "shop")["used"] == 600
    assert post(edge.port, "{" + " " * 398 + "}", headers=bearer())[0] == 204
    assert post(edge.port, "{}", headers=bearer())[0] == 503
    assert stats(edge, "shop")["refused"]["quota"] == 2
    # others have their own
    assert post(edge.port, "{}", headers=bearer("b"))[0] == 204


def test_bodies_of_unknown_length(broker, make_edge):
    edge = make_edge([broker.port], senders=sender(
        "shop", TOKEN, more="bytes=1000 quota=100000"))
    body = json.dumps({"m": "x" * 4992})
    assert post(edge.port, iter([body.encode()]), headers=bearer())[0] == 204
    wait_for(lambda: stats(edge, "shop")["used"] == len(body), 5, "its bytes")
    # five seconds' worth: those after it wait
    assert post(edge.port, "{}", headers=bearer())[0] == 503
    got = answer(edge.port, b"POST /log HTTP/1.1\r\nHost: a\r\nAuthorization: "
                 b"Bearer " + TOKEN.encode() + b"\r\n" + CHUNKED
                 + b"2\r\n{}\r\n0\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 503")
    began = time.monotonic()
    wait_for(lambda: post(edge.port, "{}", headers=bearer())[0] == 204, 8,
             "the bytes are paid")
    assert 2 < time.monotonic() - began < 6


def test_a_broker_away_takes_no_quota(make_edge):
    edge = make_edge([free_port()], senders=sender("shop", TOKEN,
                                                   more="quota=100"))
    for _ in range(60):
        assert post(edge.port, "{}", headers=bearer())[0] == 503
    s = stats(edge, "shop")
    assert (s["used"], s["failed"], s["refused"]["quota"]) == (0, 60, 0)


def test_rotation_under_load(broker, make_edge):
    """Old token, both, the new one: four senders never see anything but 204."""
    edge = make_edge([broker.port], senders=sender("shop", "old"))
    token, stop, statuses = ["old"], threading.Event(), []

    def send():
        while not stop.is_set():
            statuses.append(post(edge.port, "{}", headers=bearer(token[0]))[0])

    threads = [threading.Thread(target=send) for _ in range(4)]
    for t in threads:
        t.start()
    reload(edge, sender("shop", "old", "new"))
    token[0] = "new"
    time.sleep(0.5)
    reload(edge, sender("shop", "new"))
    time.sleep(0.5)
    stop.set()
    for t in threads:
        t.join()
    assert len(statuses) > 50 and set(statuses) == {204}
    assert post(edge.port, "{}", headers=bearer("old"))[0] == 401
    wait_for(lambda: stats(edge, "shop")["stored"] == len(statuses), 5,
             "the counts go on through reloads")


def test_clients_that_leave(broker, make_edge):
    """What came as a whole is stored and counted, the rest is not."""
    edge = make_edge([broker.port], senders=sender("shop", TOKEN,
                                                   more="quota=1m"))
    head = (f"POST /log HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}"
            "\r\nContent-Length: 2\r\n\r\n").encode()
    for body in (b"{", b"{}"):
        with socket.create_connection(("127.0.0.1", edge.port)) as s:
            s.sendall(head + body)
    wait_for(lambda: (stats(edge, "shop")["stored"],
                      stats(edge, "shop")["failed"]) == (1, 1), 10, "both")
    assert stats(edge, "shop")["used"] == 2


def client_certificate(d, name):
    subprocess.run(
        ["openssl", "req", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
         "-keyout", d / f"{name}.key", "-out", d / f"{name}.csr"],
        check=True, capture_output=True)
    subprocess.run(
        ["openssl", "x509", "-req", "-in", d / f"{name}.csr", "-CA",
         d / "cert.pem", "-CAkey", d / "key.pem", "-days", "1",
         "-set_serial", "7", "-out", d / f"{name}.pem"],
        check=True, capture_output=True)
    return d / f"{name}.pem", d / f"{name}.key"


def test_certificates(broker, make_edge, tmp_path):
    make_certificate(tmp_path)
    (tmp_path / "clients.pem").write_bytes((tmp_path / "cert.pem").read_bytes())
    shop, bank, none = (client_certificate(tmp_path, n)
                        for n in ("shop", "bank", "none"))
    print_ = subprocess.run(
        ["openssl", "x509", "-in", bank[0], "-noout", "-fingerprint", "-sha1"],
        check=True, capture_output=True, text=True).stdout \
        .split("=")[1].strip().replace(":", "")
    edge = make_edge([broker.port], tls=tmp_path, plain=free_port(),
                     senders='logbroker_sender shop "certificate=CN=shop";\n'
                     f"logbroker_sender bank certificate={print_};\n"
                     + sender("both", TOKEN))

    def send(pair=None, *more):
        return subprocess.run(
            ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-d", "{}",
             *(["--cert", pair[0], "--key", pair[1]] if pair else []), *more,
             f"https://127.0.0.1:{edge.port}/log"],
            capture_output=True, text=True, check=True).stdout

    assert [send(shop), send(bank), send(none), send()] == \
        ["204", "204", "401", "401"]
    assert send(none, "-H", f"Authorization: Bearer {TOKEN}") == "204"
    assert send(shop, "-H", "Authorization: Bearer no") == "401"
    assert [stats_tls(edge, n) for n in ("shop", "bank", "both")] == [1, 1, 1]


def stats_tls(edge, name):
    m = metrics(get(edge.figures, "/metrics")[1])
    return m[f'logbroker_sender_stored_requests_total{{sender="{name}"}}']


A, B = sha("a"), sha("b")


@pytest.mark.parametrize("text, said", [
    ("logbroker_sender a;", "invalid number of arguments"),
    ("logbroker_sender a/b token=" + A + ";", "needs a name"),
    ("logbroker_sender a token=secret;", "is not the SHA-256 of a token"),
    (f"logbroker_sender a token={A[:-1]}g;", "is not the SHA-256"),
    (f"logbroker_sender a token={sha('')};", "SHA-256 of nothing"),
    ("logbroker_sender a requests=1;", "neither token= nor certificate="),
    (f"logbroker_sender a token={A} token={B} token={sha('c')};",
     "there may be two"),
    (f"logbroker_sender a token={A}; logbroker_sender a token={B};",
     'there is a sender "a" already'),
    (f"logbroker_sender a token={A}; logbroker_sender b token={A};",
     "have the same token="),
    (f"logbroker_sender a token={A} token={A};", "have the same token="),
    (f"logbroker_sender a token={A} requests=0;", "is no number of requests"),
    (f"logbroker_sender a token={A} requests=1 requests=2;", "is there twice"),
    (f"logbroker_sender a token={A} bytes=x;", "is no number of bytes"),
    (f"logbroker_sender a token={A} quota=1p;", "is no number of bytes"),
    (f"logbroker_sender a token={A} streams=a,,b;", "is no list of streams"),
    (f"logbroker_sender a token={A} streams=a-*;", "is no list of streams"),
    (f"logbroker_sender a token={A} streams=;", "is no list of streams"),
    (f"logbroker_sender a token={A} expires=tomorrow;", "is no time"),
    (f"logbroker_sender a token={A} rate=1;", "is unknown: there are"),
    ('logbroker_sender a certificate=;', "is empty"),
    ('logbroker_sender a certificate=CN=x; logbroker_sender b '
     'certificate=CN=x;', "belongs to another sender"),
])
def test_mistakes_are_explained(tmp_path, text, said):
    nginx = Nginx(tmp_path, http=text)
    status, words = nginx.test_conf()
    assert status != 0 and said in words, words


def test_a_list_that_is_empty_lets_nobody_in(broker, make_edge):
    edge = make_edge([broker.port], senders="# nobody yet\n")
    assert post(edge.port, "{}", headers=bearer())[0] == 401
    reload(edge, SHOP)
    assert post(edge.port, "{}", headers=bearer())[0] == 204
    # one that is wrong is not taken, and what was so goes on
    edge.senders.write_text("logbroker_sender shop token=s3cret;")
    edge.send(signal.SIGHUP)
    wait_for(lambda: "is not the SHA-256" in edge.error_log.read_text(), 10,
             "the mistake in the log")
    # a token that was put there in place of its hash is in no log
    assert "s3cret" not in edge.error_log.read_text()
    assert post(edge.port, "{}", headers=bearer())[0] == 204
    edge.error_log.write_text("")


def test_the_page_of_senders(tmp_path):
    """What docs/access.md has is taken; its hash is made as it says."""
    page = (ROOT / "docs/access.md").read_text()
    nginx = Nginx(tmp_path, http=re.search(r"```nginx\n(.*?)```", page,
                                           re.S)[1])
    assert nginx.test_conf()[0] == 0
    hashed = re.search(r"^(printf .*?sha256sum)", page, re.M)[1]
    out = subprocess.run(hashed, shell=True, check=True, capture_output=True,
                         text=True, env={**os.environ, "TOKEN": "test"}).stdout
    assert out.split()[0] == sha("test")
    assert f"token={sha('test')}" in page

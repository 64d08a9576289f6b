"""Rows of logs as services write them, made in the server itself: access logs
(the lines of a real web server), requests through several services with one
trace id, Java with stacks, syslog, a scheduler, and words in Cyrillic and CJK."""

import datetime
import gzip
import pathlib
import re

DATA = pathlib.Path(__file__).resolve().parents[1] / "data"

LINE = re.compile(r'(\S+) \S+ \S+ \[[^]]*\] "([^"]*)" (\d+) (\S+) '
                  r'"([^"]*)" "([^"]*)"')

COLUMNS = """timestamp, received_at, stream, level, service, host, message,
    trace_id, attributes, client, broker, ring, seq"""


def pieces(server):
    """The table of the real lines, in parts and in their order."""
    server.query("DROP TABLE IF EXISTS default.lines")
    server.query("CREATE TABLE default.lines (n UInt64, address String, request "
                 "String, status String, bytes UInt64, referrer String, agent "
                 "String) ENGINE = Join(ANY, LEFT, n)")
    rows = []
    with gzip.open(DATA / "access.log.gz", "rt") as lines:
        for line in lines:
            found = LINE.match(line)
            if found:
                a, r, s, b, ref, agent = found.groups()
                rows.append("\t".join(x.replace("\\", "\\\\") for x in (
                    str(len(rows)), a, r, s, "0" if b == "-" else b, ref,
                    agent)))
    server.query("INSERT INTO default.lines FORMAT TSV\n" + "\n".join(rows))
    return len(rows)


def piece(name):
    return f"joinGet('default.lines', '{name}', toUInt64(number % {{lines}}))"


# What differs between one pass over the lines and the next.
ADDRESS = ("concat(splitByChar('.', " + piece("address") + ")[1], '.', "
           "toString((pass * 37 + 11) % 251), '.', "
           "splitByChar('.', " + piece("address") + ")[3], '.', "
           "splitByChar('.', " + piece("address") + ")[4])")
BYTES = f"toString({piece('bytes')} + pass * 7 % 90)"
ACCESS = (f"concat(address, ' - - \"', {piece('request')}, '\" ', "
          f"{piece('status')}, ' ', {BYTES}, ' \"', {piece('referrer')}, "
          f"'\" \"', {piece('agent')}, '\"')")


def pick(words, of):
    return "[" + ", ".join(f"'{w}'" for w in words) + f"][1 + {of} % {len(words)}]"


SERVICES = ["checkout", "catalogue", "payments", "basket", "search", "stock",
            "delivery", "accounts", "mail", "prices", "reviews", "pictures",
            "coupons", "sessions", "invoices", "warehouse", "fraud", "export"]
SYSTEM = ["sshd", "kernel", "systemd", "kubelet", "cron", "namenode"]
ITEMS = ["cart", "order", "invoice", "parcel", "refund", "voucher", "address",
         "profile", "wishlist", "subscription", "shipment", "receipt"]
CLASSES = ["OrderRepository", "PaymentGateway", "StockLedger", "PriceCache",
           "SessionStore", "MailQueue", "TaxRules", "CourierClient",
           "RetryPolicy", "ConnectionPool", "TokenFilter", "CatalogueIndex"]
CYRILLIC = ["заказ оплачен", "платёж отклонён банком", "товар закончился на складе",
            "доставка перенесена", "пароль изменён", "письмо отправлено"]
CJK = ["订单已支付", "库存不足", "登录失败", "配送已延迟", "支払いが完了しました",
       "在庫が見つかりません"]

APP = f"""multiIf(h % 100003 = 17, concat('chargeback of order ', toString(h % 10000019)),
    h % 29 = 0, concat({pick(CYRILLIC, 'intDiv(h, 31)')}, ', номер ', toString(h % 9999991)),
    h % 31 = 0, concat({pick(CJK, 'intDiv(h, 37)')}, ' #', toString(h % 9999991)),
    level = 'error', concat('could not save ', {pick(ITEMS, 'intDiv(h, 41)')}, ' ', toString(h % 9999991),
        ': connection to db-', toString(h % 9), ' timed out after ', toString(h % 5000), ' ms'),
    level = 'warn', concat('slow query on ', {pick(ITEMS, 'intDiv(h, 43)')}, 's took ', toString(500 + h % 4000), ' ms, ',
        toString(h % 300), ' rows, retry ', toString(h % 4)),
    h % 8 = 1, concat('loaded ', toString(1 + h % 40), ' ', {pick(ITEMS, 'intDiv(h, 47)')}, 's of user ', toString(intDiv(h, 53) % 200003)),
    h % 8 = 2, concat('cache ', if(h % 16 < 12, 'hit', 'miss'), ' for key ', {pick(ITEMS, 'intDiv(h, 59)')}, ':', toString(h % 999983)),
    h % 8 = 3, concat('POST /api/v2/', {pick(ITEMS, 'intDiv(h, 61)')}, 's answered ', {pick(['200', '201', '204', '409'], 'h')},
        ' in ', toString(h % 900), ' ms'),
    h % 8 = 4, concat('published event ', {pick(ITEMS, 'intDiv(h, 67)')}, '.updated to partition ', toString(h % 24),
        ' at offset ', toString(80000000 + intDiv(number, 9))),
    concat('handled ', {pick(ITEMS, 'intDiv(h, 71)')}, ' ', toString(h % 9999991), ' for user ', toString(intDiv(h, 53) % 200003)))"""

JAVA = f"""multiIf(level = 'error', concat('java.lang.IllegalStateException: ', {pick(ITEMS, 'intDiv(h, 41)')}, ' ',
        toString(h % 9999991), ' is locked\\n\\tat com.shop.', service, '.', {pick(CLASSES, 'intDiv(h, 73)')}, '.save(',
        {pick(CLASSES, 'intDiv(h, 73)')}, '.java:', toString(40 + h % 400), ')\\n\\tat com.shop.', service, '.',
        {pick(CLASSES, 'intDiv(h, 79)')}, '.handle(', {pick(CLASSES, 'intDiv(h, 79)')}, '.java:', toString(20 + intDiv(h, 7) % 300),
        ')\\n\\tat java.base/java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:1136)',
        '\\n\\tat java.base/java.lang.Thread.run(Thread.java:840)'),
    level = 'warn', concat('[', 'http-nio-8080-exec-', toString(h % 200), '] ', {pick(CLASSES, 'intDiv(h, 73)')},
        ' retries after ', toString(h % 2000), ' ms, attempt ', toString(1 + h % 5)),
    concat('[', 'http-nio-8080-exec-', toString(h % 200), '] ', {pick(CLASSES, 'intDiv(h, 73)')}, ' ',
        {pick(['begins', 'ends', 'skips', 'commits'], 'intDiv(h, 83)')}, ' transaction ', lower(hex(toUInt32(h))),
        ' of ', {pick(ITEMS, 'intDiv(h, 89)')}, ' ', toString(h % 9999991)))"""

SYSLOG = f"""multiIf(service = 'sshd', concat(if(h % 5 = 0, 'Accepted publickey for deploy from ', 'Failed password for invalid user admin from '),
        toString(h % 223), '.', toString(intDiv(h, 7) % 255), '.', toString(intDiv(h, 11) % 255), '.', toString(intDiv(h, 13) % 255),
        ' port ', toString(1024 + h % 60000), ' ssh2'),
    service = 'kernel', concat('[', toString(intDiv(number, 50)), '.', toString(h % 1000000), '] TCP: request_sock_TCP: Possible SYN flooding on port ',
        toString(h % 9000), '. Sending cookies.'),
    service = 'systemd', concat('Started Session ', toString(intDiv(number, 100)), ' of user ', {pick(['root', 'deploy', 'backup'], 'h')}, '.'),
    service = 'kubelet', concat('SyncLoop (probe) probe="readiness" status="ready" pod="shop/', {pick(SERVICES, 'intDiv(h, 97)')}, '-',
        lower(hex(toUInt32(intDiv(h, 97) % 5000))), '"'),
    service = 'cron', concat('(root) CMD (/usr/lib/sysstat/sa1 ', toString(h % 60), ' ', toString(h % 7), ')'),
    concat('BLOCK* NameSystem.addStoredBlock: blockMap updated: 10.251.', toString(h % 250), '.', toString(intDiv(h, 17) % 250),
        ':50010 is added to blk_', toString(h), ' size ', toString(h % 67108864)))"""

# eight in a request; three requests in ten are the machines' own lines
MIX = f"""
SELECT
    toDateTime64('{{until}}', 9, 'UTC') - INTERVAL {{span}} SECOND
        + toIntervalMillisecond(intDiv(toUInt64({{span}}000) * number, {{rows}}) + h % 50) AS timestamp,
    toDateTime64('{{until}}', 6, 'UTC') - INTERVAL {{span}} SECOND
        + toIntervalMicrosecond(intDiv(toUInt64({{span}}000000) * intDiv(number, 20) * 20, {{rows}}) + 1500) AS received_at,
    if(kind = 'access', 'access', 'default') AS stream,
    multiIf(kind = 'access', 'info', kind = 'system', if(h % 50 = 0, 'warn', 'info'),
        h % 1000 < 15, 'error', h % 1000 < 50, 'warn', h % 10 = 9, 'debug', 'info') AS level,
    multiIf(kind = 'access', 'edge', kind = 'system', {pick(SYSTEM, 'intDiv(h, 5)')},
        kind = 'java', {pick(SERVICES, 'intDiv(q, 7)')}, {pick(SERVICES, 'q')}) AS service,
    concat(if(kind = 'access', 'edge-', 'node-'), toString(q % if(kind = 'access', 4, 40))) AS host,
    multiIf(kind = 'access', {ACCESS}, kind = 'system', {SYSLOG}, kind = 'java', {JAVA}, {APP}) AS message,
    if(kind = 'system', '', lower(hex(MD5(toString(request))))) AS trace_id,
    multiIf(kind = 'access', concat('{{{{"status":', {piece('status')}, ',"bytes":', {BYTES},
            ',"duration":', toString((h % 900) / 1000), '}}}}'),
        kind = 'system', concat('{{{{"pid":', toString(300 + intDiv(h, 101) % 30000), '}}}}'),
        kind = 'java', concat('{{{{"thread":"http-nio-8080-exec-', toString(h % 200), '","logger":"com.shop.', service, '.',
            {pick(CLASSES, 'intDiv(h, 73)')}, '"}}}}'),
        concat('{{{{"status":', if(level = 'error', '500', '200'), ',"duration":', toString((h % 900) / 1000),
            ',"uri":"/api/v2/', {pick(ITEMS, 'intDiv(h, 61)')}, 's","user":', toString(intDiv(h, 53) % 200003),
            ',"region":"', {pick(['eu-west-1', 'eu-north-1', 'us-east-1'], 'q')}, '"}}}}')) AS attributes,
    concat('10.0.', toString(q % 4), '.', toString(q % 40)) AS client,
    'broker-1' AS broker,
    toUUID('00000000-0000-0000-0000-000000000001') AS ring,
    number AS seq
FROM (SELECT number, cityHash64(number) AS h, intDiv(number, 8) AS request, cityHash64(request, 1) AS q,
        intDiv(number, {{lines}}) AS pass, number % 8 AS k,
        multiIf(request % 10 >= 7, 'system', k = 0, 'access', k IN (4, 5, 6), 'java', 'app') AS kind,
        {ADDRESS} AS address
    FROM numbers({{begin}}, {{count}}))
"""

# A web server's log alone, an event a line.
WEB = f"""
SELECT
    toDateTime64('{{until}}', 9, 'UTC') - INTERVAL {{span}} SECOND
        + toIntervalMillisecond(intDiv(toUInt64({{span}}000) * number, {{rows}}) + cityHash64(number) % 50) AS timestamp,
    toDateTime64('{{until}}', 6, 'UTC') - INTERVAL {{span}} SECOND
        + toIntervalMicrosecond(intDiv(toUInt64({{span}}000000) * intDiv(number, 20) * 20, {{rows}}) + 1500) AS received_at,
    'default' AS stream, 'info' AS level, 'web' AS service,
    concat('web-', toString(cityHash64(intDiv(number, 20)) % 4)) AS host,
    {ACCESS} AS message, '' AS trace_id,
    concat('{{{{"status":', {piece('status')}, ',"bytes":', {BYTES}, '}}}}') AS attributes,
    concat('10.0.0.', toString(cityHash64(intDiv(number, 20)) % 4)) AS client,
    'broker-1' AS broker,
    toUUID('00000000-0000-0000-0000-000000000001') AS ring,
    number AS seq
FROM (SELECT number, intDiv(number, {{lines}}) AS pass, {ADDRESS} AS address
    FROM numbers({{begin}}, {{count}}))
"""

# an event as its sender wrote it
RAW = """concat('{"timestamp":"', toString(toDateTime64(timestamp, 3, 'UTC')), 'Z","level":"', level,
    '","service":"', service, '","host":"', host, '","message":', replaceAll(toJSONString(message), '\\\\/', '/'),
    if(trace_id = '', '', concat(',"trace_id":"', trace_id, '"')), ',', substring(attributes, 2))"""


def rows(kind, lines, rows, begin=0, count=None, until=None, span=None):
    """The SELECT of rows begin to begin + count of so many, spread over span
    seconds (a thousand a second if it is not given) that end then (late
    yesterday: one day, which the table keeps)."""
    if until is None:
        day = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        until = f"{day:%Y-%m-%d} 23:00:00"
    sql = {"mix": MIX, "web": WEB}[kind]
    # twice: the pieces carry {lines} through a first round of braces
    text = sql.format(lines=lines, rows=rows, begin=begin,
                      count=rows if count is None else count, until=until,
                      span=span or max(1, rows // 1000))
    return text.replace("{{", "{").replace("}}", "}")

# Stands in for the official image of ClickHouse where no image can be pulled:
# its engine as a library behind the program clickhouse, with what else is in
# the official image that ours must not depend on (the volume, its owner).
# tests/deploy/images.sh prepares the folder it is built in: the npm package's
# libchdb.so and logbroker-chserver.

ARG BASE=debian:bookworm-20261005-slim@sha256:7c7b2c966bc9ee8cedfeef67e0e279108992c77681fa595db4a9d65c06ccc587

FROM ${BASE}
COPY libchdb.so logbroker-chserver /usr/lib/chdb/
RUN printf '%s\n' '#!/bin/sh' \
        '# clickhouse server --config-file=FILE' \
        'exec /usr/lib/chdb/logbroker-chserver /usr/lib/chdb/libchdb.so "${2#*=}" /var/lib/clickhouse/data' \
        >/usr/bin/clickhouse \
    && chmod 0755 /usr/bin/clickhouse \
    && install -d -o 101 -g 101 -m 0700 /var/lib/clickhouse
VOLUME /var/lib/clickhouse
USER 101

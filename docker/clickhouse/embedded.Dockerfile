# The same as Dockerfile on ClickHouse's engine as a library, for machines that
# can pull no images and for tests. tests/deploy/images.sh prepares the folder
# it is built in: logbroker-chserver and libchdb.so beside conf, docker, tools.

ARG BASE=debian:bookworm-20251229-slim

FROM ${BASE}
COPY packages.txt /tmp/logbroker/
COPY tools/install-deps.sh /tmp/logbroker/tools/
RUN /tmp/logbroker/tools/install-deps.sh clickhouse \
    && rm -rf /tmp/logbroker /var/lib/apt/lists/* /var/cache/apt/* \
    && groupadd --gid 10001 logbroker \
    && useradd --uid 10001 --gid 10001 --no-create-home \
        --home-dir /nonexistent --shell /usr/sbin/nologin logbroker \
    && install -d -o 10001 -g 10001 -m 0750 /run/logbroker /run/secrets \
        /var/lib/clickhouse \
    && install -d /usr/share/logbroker/clickhouse
COPY libchdb.so /usr/lib/logbroker/
COPY logbroker-chserver /usr/bin/
COPY conf/clickhouse/*.sql conf/clickhouse/*.xml tools/clickhouse/apply.sh \
    /usr/share/logbroker/clickhouse/
COPY docker/entrypoint.sh /usr/bin/logbroker-entrypoint
USER 10001:10001
VOLUME /var/lib/clickhouse
EXPOSE 8123
STOPSIGNAL SIGTERM
ENTRYPOINT ["logbroker-entrypoint"]
CMD ["clickhouse"]

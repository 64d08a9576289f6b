#!/bin/sh
#
# page.sh FILE: the file as the C array ngx_http_logbroker_page, on stdout.

set -eu

echo "/* made by page.sh of $(basename "$1") */"
echo "static const unsigned char  ngx_http_logbroker_page[] = {"
od -An -v -tu1 "$1" | sed 's/[0-9][0-9]*/&,/g'
echo "};"

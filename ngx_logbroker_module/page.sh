#!/bin/sh
#
# page.sh FILE: the page as the C array ngx_http_logbroker_page, on stdout. A line
# @@NAME@@ of it becomes the file of that name beside it.
# page.sh --text FILE: the page itself.

set -eu

page() {
    awk -v dir="$(dirname "$1")" '
        /^@@.*@@$/ {
            file = dir "/" substr($0, 3, length($0) - 4)
            while ((got = (getline line < file)) > 0) print line
            if (got < 0) { print "page.sh: no " file > "/dev/stderr"; exit 1 }
            next
        }
        { print }' "$1"
}

if [ "$1" = --text ]; then
    page "$2"
    exit
fi

text=$(page "$1")
echo "/* made by page.sh of $(basename "$1") */"
echo "static const unsigned char  ngx_http_logbroker_page[] = {"
printf '%s\n' "$text" | od -An -v -tu1 | sed 's/[0-9][0-9]*/&,/g'
echo "};"

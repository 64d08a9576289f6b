#!/bin/sh
#
# page.sh FILE...: the pages as C arrays on stdout: ngx_http_logbroker_NAME of
# NAME.html. A line @@FILE@@ becomes the file of that name beside them, in which
# such lines may be again.
# page.sh --text FILE: the page itself.

set -eu

page() {
    awk -v dir="$(dirname "$1")" '
        function put(line,   file, got) {
            if (line !~ /^@@.*@@$/) { print line; return }
            file = dir "/" substr(line, 3, length(line) - 4)
            while ((got = (getline line < file)) > 0) put(line)
            if (got < 0) { print "page.sh: no " file > "/dev/stderr"; exit 1 }
            close(file)
        }
        { put($0) }' "$1"
}

if [ "$1" = --text ]; then
    page "$2"
    exit
fi

echo "/* made by page.sh */"
for file; do
    text=$(page "$file")
    echo "static const unsigned char  ngx_http_logbroker_$(basename "$file" .html)[] = {"
    printf '%s\n' "$text" | od -An -v -tu1 | sed 's/[0-9][0-9]*/&,/g'
    echo "};"
done

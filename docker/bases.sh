#!/bin/sh
# bases.sh              whether all files name the images of docker/bases: with their
#                       digests where images are made (docker/, .gitlab-ci.yml),
#                       without elsewhere; tests make a base of their own
# bases.sh --write      puts them there
# bases.sh --supported  whether they get security updates for another thirty days
#
# Exit status: 0 all is well, 1 something is not.
set -eu

cd "$(dirname "$0")/.."
failed=0
while read -r name image until; do
    case $name in '' | '#'*) continue ;; esac
    if [ "${1-}" = --supported ]; then
        [ "$(date -d '30 days' +%Y%m%d)" -lt "$(echo "$until" | tr -d -)" ] || {
            echo "docker/bases: $name: $image gets no security updates from $until on: take the next" >&2
            failed=1
        }
        continue
    fi
    # mirrors have other names before the slash
    image=${image##*/}
    tag=${image%@*}
    any="${tag%%:*}:[a-z]*-*[0-9][0-9.]*\\(-slim\\)*\\(@sha256:[0-9a-f]*\\)*"
    for file in $(git grep -lI "$any" -- . ':!docker/bases' ':!CHANGES' ':!tests'); do
        case $file in
        docker/* | .gitlab-ci.yml) wanted=$image ;;
        *) wanted=$tag ;;
        esac
        [ "${1-}" != --write ] || sed -i "s|$any|$wanted|g" "$file"
        if grep -o "$any" "$file" | grep -qvxF "$wanted"; then
            echo "$file: $(grep -o "$any" "$file" | grep -vxF "$wanted" | head -n 1), docker/bases has $wanted (docker/bases.sh --write)" >&2
            failed=1
        fi
    done
done <docker/bases
exit $failed

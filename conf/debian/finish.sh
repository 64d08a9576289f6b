#!/bin/sh
# finish.sh STAGE VERSION MAINTAINER: run by cpack over the folders that become
# packages (STAGE/broker, STAGE/module) once the files are in them: what Debian
# asks for beyond what "cmake --install" makes.
set -eu

stage=$1
version=$2
maintainer=$3
source=$(cd "$(dirname "$0")/../.." && pwd)

date=$(LC_ALL=C date -u -R -d "@${SOURCE_DATE_EPOCH:-$(stat -c %Y "$source/CHANGES")}")
for pair in broker:logbroker module:libnginx-mod-http-logbroker; do
    doc=$stage/${pair%%:*}/usr/share/doc/${pair#*:}
    cp "$source/CHANGES" "$doc/changelog"
    cat >"$doc/changelog.Debian" <<EOT
${pair#*:} ($version) unstable; urgency=medium

  * Release ${version%-*}: see changelog.gz.

 -- $maintainer  $date
EOT
    # without name and time, so that a build can be repeated
    gzip -9nf "$doc/changelog" "$doc/changelog.Debian"
done
gzip -9nf "$stage"/broker/usr/share/man/*/*.[1-8]

# a plain file to cmake, which strips programs alone
strip --strip-unneeded --remove-section=.comment --remove-section=.note \
    "$stage"/module/usr/lib/nginx/modules/*.so

# Links to what is in the source alone become words. What lies in the package of
# the module is there: the names are those of share/logbroker.
doc=$stage/broker/usr/share/doc/logbroker
for page in "$doc"/docs/*.md; do
    script=
    for target in $(grep -o '](\.*[A-Za-z][^):]*)' "$page" | sed 's/^](//; s/[)#].*//' | sort -u) \
        $(grep -o '](\.\./[^):]*)' "$page" | sed 's/^](//; s/[)#].*//' | sort -u); do
        case $target in
        ../conf/nginx/*) [ ! -f "$source/docs/$target" ] || continue ;;
        *) [ ! -e "$doc/docs/$target" ] || continue ;;
        esac
        script="$script
s|\[\([^]]*\)\](${target}[^)]*)|\1 (in the source: ${target#../})|g"
    done
    [ -z "$script" ] || sed -i "$script" "$page"
done

# folders have the umask of who built
chmod -R go-w "$stage/broker" "$stage/module"

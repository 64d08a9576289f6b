#!/bin/sh
# strip.sh: takes out of a root file system what a server needs no more once its
# packages are in: apt, perl and what is written in it, programs that change who one
# is. dpkg's list stays true, so that what is left can be told and looked up.
set -eu

gone=
for package in adduser apt debconf e2fsprogs gpgv init-system-helpers login \
    login.defs logsave mount passwd perl-base sysvinit-utils \
    $(dpkg-query -f '${Package}\n' -W 'perl*' 'libperl*' 'libapt-pkg*' 'perl-modules*' 2>/dev/null); do
    if [ "$(dpkg-query -f '${db:Status-Status}' -W "$package" 2>/dev/null)" = installed ]; then
        case " $gone " in *" $package "*) ;; *) gone="$gone $package" ;; esac
        # they would tidy what goes away anyway, with programs that do
        rm -f /var/lib/dpkg/info/"$package".prerm /var/lib/dpkg/info/"$package".postrm \
            /var/lib/dpkg/info/"$package":*.prerm /var/lib/dpkg/info/"$package":*.postrm
    fi
done
# shellcheck disable=SC2086  # words
dpkg --purge --force-all $gone >/dev/null 2>/tmp/strip.log || { cat /tmp/strip.log >&2; exit 1; }

find / -xdev -type f -perm /6000 -exec chmod ug-s {} +
rm -rf /etc/apt /var/lib/apt /var/cache/apt /var/cache/debconf /var/log/* \
    /usr/share/doc /usr/share/man /usr/share/info /usr/share/perl* /usr/lib/*/perl* \
    /usr/share/locale /etc/perl /tmp/* /var/lib/dpkg/*-old /etc/*-

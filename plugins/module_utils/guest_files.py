# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tiny guest runs: its init, its DHCP script and the page on its disk."""

from __future__ import annotations

#: Served at / once the volume is mounted. The proof looks for this text.
PAGE = "This page lies on the volume of an Updraft guest.\n"

#: The guest's only program besides busybox. What it learns, it writes to its console and serves:
#: / the page of the volume, /instance its id from the metadata service, /probes what it reaches, /writes and /pauses
#: what became of its writes.
INIT = r"""#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
say() { echo "updraft-guest $(cut -d' ' -f1 /proc/uptime): $*"; }
for module in $(cat /drivers/order); do
    insmod "/drivers/$module" || say "driver $module failed"
done

# The power button: the hypervisor asks for an orderly end in this way.
for event in /sys/class/input/event*; do
    [ "$(cat "$event/device/name" 2>/dev/null)" = "Power Button" ] || continue
    (dd if="/dev/input/${event##*/}" of=/dev/null bs=24 count=1 2>/dev/null; say "power button"; poweroff -f) &
done

echo "no volume" >/www/index.html
if mount -t ext4 -o ro,noload /dev/vda /volume; then
    cp /volume/index.html /www/index.html
    say "volume mounted"
else
    say "volume not mounted"
fi

# A machine without metadata is asked for writes by its kernel's command line, and tells of them by its console.
if grep -q updraft.write /proc/cmdline; then
    sh /writes /dev/vda /www &
    while sleep 10; do
        for page in writes pauses; do
            echo "page $page"
            cat "/www/$page"
            echo "end $page"
        done
    done &
fi

ip link set lo up
ip link set eth0 up
until udhcpc -q -n -t 5 -T 3 -i eth0 -s /dhcp >/dev/null; do
    say "no answer by DHCP"
    sleep 2
done
say "address $(ip -4 -o addr show eth0 | sed 's/.*inet \([^ ]*\).*/\1/')"

echo "unknown" >/www/instance
httpd -p 80 -h /www
say "serving"

metadata=http://169.254.169.254/openstack/latest
try=0
while [ $try -lt 60 ]; do
    if wget -q -T 10 -O /run/metadata "$metadata/meta_data.json"; then
        sed -n 's/.*"uuid": *"\([^"]*\)".*/\1/p' /run/metadata >/www/instance.new
        mv /www/instance.new /www/instance
        say "instance $(cat /www/instance)"
        break
    fi
    say "no metadata"
    try=$((try + 1))
    sleep 3
done

# User data may ask for writes all the time (`write`), and name addresses to look for, one `probe ADDRESS` to a line.
wget -q -T 10 -O /run/user_data "$metadata/user_data" || : >/run/user_data
grep -qx write /run/user_data && sh /writes /dev/vda /www &
addresses=$(sed -n 's/^probe \([0-9.]*\)$/\1/p' /run/user_data)
while [ -n "$addresses" ]; do
    for address in $addresses; do
        if ping -c 2 -W 2 -q "$address" >/dev/null 2>&1; then echo "$address reached"; else echo "$address silent"; fi
    done >/www/probes.new
    mv /www/probes.new /www/probes
    sleep 3
done
while :; do sleep 3600; done
"""

#: Writes to the volume, beyond the file system with the page, about once a second; each block is on the disk before the
#: next, and is read from there once more before its place is needed again. A pause is of a write or of the
#: read after it, whichever comes first when the volume is away. Times are hundredths of a second of uptime.
WRITES = r"""#!/bin/sh
device=$1 folder=$2
first=16384 places=60
boot=$(cat /proc/sys/kernel/random/boot_id)
number=0 compared=0 longest=0 failed=0 wrong=0
now() { read -r up _ </proc/uptime; echo "${up%.*}${up#*.}"; }
echo "written ended took" >"$folder/pauses"
while :; do
    began=$(now)
    printf '%-4095s\n' "$boot $number" |
        dd of="$device" bs=4096 seek=$((first + number % places)) conv=notrunc,fsync 2>/dev/null ||
        failed=$((failed + 1))
    number=$((number + 1))
    oldest=$((number - places))
    if [ $oldest -ge 0 ]; then
        echo 1 >/proc/sys/vm/drop_caches
        found=$(dd if="$device" bs=4096 skip=$((first + oldest % places)) count=1 2>/dev/null) || failed=$((failed + 1))
        [ "${found%% *}" = "$boot" ] && [ "$(echo "${found#* }" | tr -d ' ')" = "$oldest" ] || wrong=$((wrong + 1))
        compared=$((compared + 1))
    fi
    ended=$(now) took=$(($(now) - began))
    [ $took -le $longest ] || longest=$took
    [ $took -le 100 ] || echo "$number $ended $took" >>"$folder/pauses"
    cat >"$folder/writes.new" <<END
boot $boot
uptime $(now)
written $number
compared $compared
longest $longest
failed $failed
wrong $wrong
END
    mv "$folder/writes.new" "$folder/writes"
    sleep 1
done
"""

DHCP_SCRIPT = r"""#!/bin/sh
case "$1" in
bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" dev "$interface"
    [ -n "$mtu" ] && ip link set "$interface" mtu "$mtu"
    # Static routes (option 121) carry the way to the metadata service and replace the router option.
    if [ -n "$staticroutes" ]; then
        set -- $staticroutes
        while [ $# -ge 2 ]; do
            if [ "$2" = 0.0.0.0 ]; then ip route replace "$1" dev "$interface"; else
                ip route replace "$1" via "$2" dev "$interface"
            fi
            shift 2
        done
    else
        for address in $router; do ip route replace default via "$address" dev "$interface"; done
    fi
    ;;
esac
"""

#!/bin/sh
# Process 1 of the virtual machine: a small Linux system with the cgroup layout that was asked for, then the tests.
# /job/order sets LAYOUT and the arguments of pytest. The last line tells the runner how it went.
export PATH=/job/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
. /job/order

farewell() {
    echo "sampan-vm: exit code $1"
    sync
    exec busybox poweroff -f
}
trap 'farewell 99' EXIT

mount_unified() { mkdir -p "$1" && mount -t cgroup2 -o nosuid,nodev,noexec none "$1"; }

# Some controllers in version 1, the memory's and that of processes in version 2, and none for devices.
mount_hybrid() {
    mount -t tmpfs -o mode=755 none /sys/fs/cgroup
    mount_unified /sys/fs/cgroup/unified
    for controllers in cpu,cpuacct cpuset blkio freezer; do
        mkdir "/sys/fs/cgroup/$controllers"
        mount -t cgroup -o "$controllers" none "/sys/fs/cgroup/$controllers"
    done
    for name in cpu cpuacct; do ln -s cpu,cpuacct "/sys/fs/cgroup/$name"; done
}

set -e
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 none /dev/pts
mount -t tmpfs none /dev/shm
mount -t mqueue none /dev/mqueue 2>/dev/null || { mkdir -p /dev/mqueue && mount -t mqueue none /dev/mqueue; }
mount -t tmpfs -o mode=755 none /run
for each in fd:/proc/self/fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do ln -sf "${each#*:}" "/dev/${each%%:*}"; done
case $LAYOUT in
    v2) mount_unified /sys/fs/cgroup ;;
    hybrid) mount_hybrid ;;
esac
mount --make-rshared /
hostname sampan-vm
ip link set lo up
for module in overlay veth bridge br_netfilter nf_tables nft_chain_nat nft_masq nft_ct nft_fib_inet nf_conntrack_netlink \
    loop dummy xfs; do
    modprobe "$module" || echo "sampan-vm: this kernel has no module $module"
done
set +e

echo "sampan-vm: Linux $(uname -r), $(python3 --version), cgroups: $LAYOUT ($(cat /sys/fs/cgroup/cgroup.controllers \
    /sys/fs/cgroup/unified/cgroup.controllers 2>/dev/null | tr '\n' ' '))"
cd /job/repository || exit
PYTHONDONTWRITEBYTECODE=1 python3 -m pytest "$@"
code=$?
trap - EXIT
farewell $code

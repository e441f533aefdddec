#!/bin/sh
# The first program of the virtual machine, out of the initramfs: mounts the root disk, unpacks the job and goes over.
set -eu
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
    busybox insmod "/modules/$module.ko"
done
until [ -b /dev/vdb ]; do busybox sleep 0.1; done
busybox mount -t ext4 /dev/vda /root
busybox mkdir /root/job
busybox tar -x -f /dev/vdb -C /root/job
for each in proc sys dev; do busybox mount -o move /$each /root/$each; done
exec busybox switch_root /root /bin/sh /job/repository/tests/vm/guest/main.sh

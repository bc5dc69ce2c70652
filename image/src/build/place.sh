# Gives a build the same places on every machine: run by `unshare --mount`, so nobody else sees these mounts.
# Arguments: checkout, registry of cargo, Rust toolchain, target folder, then the command.
set -eu
mount -t tmpfs -o mode=755 lethe /mnt
mkdir -p /mnt/lethe /mnt/cargo/registry /mnt/rust /mnt/target /mnt/tmp
mount --bind "$1" /mnt/lethe
# a build that changed its own source would not be one
mount -o remount,bind,ro /mnt/lethe
mount --bind "$2" /mnt/cargo/registry
mount --bind "$3" /mnt/rust
mount --bind "$4" /mnt/target
shift 4
umask 022
cd /mnt/lethe
exec "$@"

#!/bin/sh
# The first container, through all of it: an engine in a scratch root, an image made of this machine's own programs,
# a web server in a container on the bridge, then the same on vfs, and two containers on an internal network.
# Usage: demo.sh SAMPAN, the path of the sampan command. `make demo` runs it.
set -eu

sampan=$1
python=$(dirname "$sampan")/python
[ "$(id -u)" = 0 ] || { echo "The demo starts a container engine, and that takes root: sudo make demo" >&2; exit 1; }

scratch=$(mktemp -d /tmp/sampan-demo.XXXXXX)
log=$scratch/daemon.log
daemon=""
bridge=sampan-demo$(($$ % 1000))
export SAMPAN_HOST="unix://$scratch/engine.sock"

if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); else bold="" plain=""; fi
heading() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
line() { [ -n "$2" ] && printf '  %-18s %s\n' "$1" "$2" || fail "nothing is known of the $1"; }
fail() {
    echo "demo: $*" >&2
    [ ! -s "$log" ] || { echo "demo: the daemon's last words:" >&2; tail -n 20 "$log" >&2; }
    exit 1
}

# ── the engine ───────────────────────────────────────────────────────────────────────────────────────────────────

start_engine() {
    "$sampan" daemon --data-root "$scratch/data" --exec-root "$scratch/exec" --pidfile "$scratch/daemon.pid" \
        --host "$SAMPAN_HOST" --bridge "$bridge" >"$log" 2>&1 &
    daemon=$!
    until "$sampan" version >/dev/null 2>&1; do
        kill -0 "$daemon" 2>/dev/null || fail "the daemon ended before it began"
        sleep 0.1
    done
}

clean_up() {
    code=$?
    trap - EXIT INT TERM HUP
    if [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; then
        names=$("$sampan" ps --all --quiet) && [ -z "$names" ] || "$sampan" rm --force $names >/dev/null || code=1
        "$sampan" network prune --force >/dev/null || code=1
        kill -TERM "$daemon"
        wait "$daemon" || code=1
    fi
    if grep -q "$scratch" /proc/mounts || [ -e "/sys/class/net/$bridge" ]; then
        echo "demo: something was left behind: see /proc/mounts for $scratch, and the link $bridge" >&2
        exit 1
    fi
    rm -rf "$scratch"
    exit "$code"
}

# ── what it shows ────────────────────────────────────────────────────────────────────────────────────────────────

free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# fetch URL: what the web server says; it gets five seconds to come up.
fetch() {
    "$python" - "$1" <<'PYTHON'
import sys, time, urllib.request
for attempt in range(50):
    try:
        print(urllib.request.urlopen(sys.argv[1], timeout=2).read().decode().strip())
        break
    except OSError as error:
        time.sleep(0.1)
else:
    sys.exit(f"{sys.argv[1]} does not answer: {error}")
PYTHON
}

serve='echo "Hello from $(hostname)" >/tmp/index.html && exec busybox httpd -f -p 80 -h /tmp'

# run NAME FLAGS...: the web server in a container of that name.
run() {
    name=$1
    shift
    "$sampan" run --detach --name "$name" --hostname "$name" --memory 64m --cpus 0.5 --pids-limit 50 "$@" \
        demo sh -c "$serve" >/dev/null || fail "the container $name did not start"
}

address() { "$sampan" inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"; }

inside() { "$sampan" exec "$1" sh -c "$2"; }

limit() { inside "$1" "cat /sys/fs/cgroup/$2 2>/dev/null || cat /sys/fs/cgroup/$3"; }

show() { # NAME
    line "process 1" "$(inside "$1" 'tr "\0" " " </proc/1/cmdline')"
    line "processes" "$(inside "$1" 'ls -d /proc/[0-9]*' | wc -l) in there, $(ls -d /proc/[0-9]* | wc -l) on this machine"
    line "host name" "$(inside "$1" hostname), this machine is $(uname -n)"
    line "address" "$(inside "$1" 'busybox ip -4 -o address show eth0' | awk '{ print $4 }')"
    line "root file system" "$(inside "$1" 'df -T / | awk "NR == 2 { print \$2 }"'), with $(inside "$1" 'echo /*')"
    line "memory limit" "$(limit "$1" memory.max memory/memory.limit_in_bytes) bytes"
    line "process limit" "$(limit "$1" pids.max pids/pids.max)"
}

# ── the tour ─────────────────────────────────────────────────────────────────────────────────────────────────────

trap clean_up EXIT
trap 'exit 130' INT TERM HUP

heading "An engine of our own, in $scratch"
start_engine
"$sampan" drivers

heading "An image made of this machine's own programs"
"$sampan" image from-host -t demo >/dev/null || fail "the image could not be made"
"$sampan" images

heading "A container on the bridge, with a published port"
port=$(free_port)
run boat --publish "127.0.0.1:$port:80"
show boat
answer=$(fetch "http://127.0.0.1:$port/") || fail "the published port $port"
line "127.0.0.1:$port" "$answer"

heading "The same with its files kept by vfs"
port=$(free_port)
run barge --storage-driver vfs --publish "127.0.0.1:$port:80"
line "storage driver" "$("$sampan" inspect --format '{{.Driver}}' barge)"
answer=$(fetch "http://127.0.0.1:$port/") || fail "the published port $port"
line "127.0.0.1:$port" "$answer"

heading "Two containers on an internal network: one another, and nobody else"
"$sampan" network create --driver internal harbour >/dev/null
run ferry --network harbour
ask='for i in 1 2 3 4 5; do busybox timeout 5 busybox wget -q -O - "$0" 2>&1 && exit; sleep 0.2; done; exit 1'
answer=$("$sampan" run --rm --network harbour demo sh -c "$ask" "http://$(address ferry)/") || fail "the ferry: $answer"
line "to its neighbour" "$answer"
! answer=$("$sampan" run --rm --network harbour demo sh -c "$ask" "http://$(address boat)/") || fail "there is a way out"
line "to the bridge" "$(echo "$answer" | tail -n 1)"

heading "Everything is removed again."

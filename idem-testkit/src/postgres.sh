# Runs a Postgres server for as long as standard input is open. The test process holds the other end,
# so however it ends, the server and its files go with it.
#
# Arguments: the directory of the server's programs, and, for a standby, the port of its primary.
# Commands, a line each: start PORT, stop, pause, resume. Each is answered by "ok" or "failed".

bin=$1
primary=$2
dir=$(mktemp -d /tmp/idem-postgres.XXXXXX) || exit
server=

stop() {
    [ -n "$server" ] || return 0
    kill -QUIT "$server" 2>/dev/null
    # A paused server hears nothing until it is resumed.
    signal_all -CONT
    wait "$server"
    server=
}

start() {
    stop
    "$bin/postgres" -D "$dir/data" -p "$1" -k "$dir" -h 127.0.0.1 -F -c max_connections=300 \
        -c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.track_utility=on \
        </dev/null >"$dir/log" 2>&1 &
    server=$!
    # Asked through the socket in our own directory, no other server can answer.
    until "$bin/pg_isready" -q -h "$dir" -p "$1"; do
        kill -0 "$server" 2>/dev/null || { server=; return 1; }
        sleep 0.02
    done
}

pause() {
    # A server that has stopped has no new children.
    [ -d "/proc/$server" ] && kill -STOP "$server" || return
    until grep -q '^State:.T' "/proc/$server/status"; do sleep 0.01; done
    signal_all -STOP
}

signal_all() {
    kill "$1" "$server" || return
    for child in $(cat "/proc/$server/task/$server/children" 2>/dev/null); do
        kill "$1" "$child" 2>/dev/null || :
    done
}

# Answering a test process that has just died must not end us before we have cleaned up.
trap '' PIPE
trap 'stop; rm -rf "$dir"' EXIT
trap exit INT TERM HUP

cd "$dir" || exit
if [ -n "$primary" ]; then
    "$bin/pg_basebackup" -D data -h 127.0.0.1 -p "$primary" -U postgres -R -c fast --no-sync
else
    "$bin/initdb" -D data -A trust -U postgres -E UTF8 --no-locale --no-sync
fi >log 2>&1 || { cat log >&2; exit 1; }
echo "$dir"

while read -r command port; do
    case $command in
        start) start "$port" ;;
        stop) stop ;;
        pause) pause ;;
        resume) signal_all -CONT ;;
    esac && echo ok || echo failed
done

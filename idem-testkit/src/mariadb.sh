# Runs a MariaDB server for as long as standard input is open. The test process holds the other end, so
# however it ends, the server and its files go with it.
#
# Arguments: the server's program. Says the directory of its files.
# Commands, a line each: start PORT [OPTION]..., stop, pause, resume. Each is answered by "ok" or
# "failed".

bin=$1
dir=$(mktemp -d /tmp/idem-mariadb.XXXXXX) && cd "$dir" || exit
server=
# Servers that start remove what they find there.
export TMPDIR="$dir"
# The server refuses to run as root unless it is told to.
user=
[ "$(id -u)" != 0 ] || user=--user=root

stop() {
    [ -n "$server" ] || return 0
    kill -KILL "$server" 2>/dev/null
    wait "$server" 2>/dev/null
    server=
}

start() {
    stop
    port=$1
    shift
    # Written before it is answered, and so there after a crash of the server, if not of the machine.
    "$bin" --no-defaults $user --datadir="$dir/data" --port="$port" --bind-address=127.0.0.1 \
        --socket="$dir/socket" --pid-file="$dir/pid" --skip-name-resolve --max-connections=500 \
        --innodb-flush-log-at-trx-commit=2 --innodb-log-file-size=48M "$@" \
        </dev/null >"$dir/log" 2>&1 &
    server=$!
    # Asked through the socket in our own directory, no other server can answer.
    until mariadb --no-defaults -u root -S "$dir/socket" -e 'SELECT 1' >/dev/null 2>&1; do
        kill -0 "$server" 2>/dev/null || { server=; return 1; }
        sleep 0.02
    done
}

pause() {
    kill -STOP "$server" || return
    until grep -q '^State:.T' "/proc/$server/status"; do sleep 0.01; done
}

# Answering a test process that has just died must not end us before we have cleaned up.
trap '' PIPE
trap 'stop; rm -rf "$dir"' EXIT
trap exit INT TERM HUP

mariadb-install-db --no-defaults $user --datadir="$dir/data" --skip-test-db \
    --auth-root-authentication-method=normal >log 2>&1 || { cat log >&2; exit 1; }
echo "$dir"

while read -r command arguments; do
    case $command in
        start) start $arguments ;;
        stop) stop ;;
        pause) pause ;;
        resume) kill -CONT "$server" ;;
    esac && echo ok || echo failed
done

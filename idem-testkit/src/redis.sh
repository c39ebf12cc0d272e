# Runs a Redis server for as long as standard input is open. The test process holds the other end, so
# however it ends, the server and its files go with it.
#
# Argument: the directory of the server's programs. Says the directory of its files.
# Commands, a line each: start PORT [OPTION]..., stop, pause, resume. Each is answered by "ok" or
# "failed".

bin=$1
dir=$(mktemp -d /tmp/idem-redis.XXXXXX) && cd "$dir" || exit
server=

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
    "$bin/redis-server" --port "$port" --bind 127.0.0.1 --unixsocket "$dir/socket" --dir "$dir" \
        --save '' --appendonly yes --appendfsync no --auto-aof-rewrite-percentage 0 \
        --repl-diskless-sync-delay 0 "$@" </dev/null >"$dir/log" 2>&1 &
    server=$!
    # Asked through the socket in our own directory, no other server can answer.
    until [ "$("$bin/redis-cli" -s "$dir/socket" PING 2>/dev/null)" = PONG ]; do
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

echo "$dir"
while read -r command arguments; do
    case $command in
        start) start $arguments ;;
        stop) stop ;;
        pause) pause ;;
        resume) kill -CONT "$server" ;;
    esac && echo ok || echo failed
done

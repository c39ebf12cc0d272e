# Runs ChromeDriver for as long as standard input is open. The test process holds the other end, so
# however it ends, the driver, its browsers and their files go with it.
#
# Argument: the driver. Says the directory of its files, and then its port.

stop() {
    browsers=$(cat "/proc/$driver/task"/*/children 2>/dev/null)
    kill "$driver" 2>/dev/null
    wait "$driver"
    # They end as soon as they notice that their pipe to the driver is closed.
    for browser in $browsers; do
        for _ in 1 2 3 4 5 6 7 8 9; do
            runs "$browser" && sleep 0.1
        done
        runs "$browser" && kill -KILL "$browser"
    done
    # Their own children may still be writing.
    for _ in 1 2 3 4 5 6 7 8 9; do
        rm -rf "$dir" 2>/dev/null && break
        sleep 0.1
    done
}

# A process that has ended and that nobody has waited for has no program.
runs() {
    [ -e "/proc/$1/exe" ]
}

start() {
    # Browsers keep their profiles in the directory for temporary files.
    HOME=$dir TMPDIR=$dir "$1" --port=0 </dev/null >log 2>&1 &
    driver=$!
    until port=$(sed -n 's/.* successfully on port \([0-9]*\)\.$/\1/p' log) && [ -n "$port" ]; do
        kill -0 "$driver" 2>/dev/null || return
        sleep 0.02
    done
}

dir=$(mktemp -d /tmp/idem-chromedriver.XXXXXX) && cd "$dir" || exit
# Answering a test process that has just died must not end us before we have cleaned up.
trap '' PIPE
trap stop EXIT
trap exit INT TERM HUP

echo "$dir"
# Of the port that it finds for one version of IP, somebody else may have the other version's.
for _ in 1 2 3 4 5; do start "$1" && break; done
[ -n "$port" ] || { cat log >&2; exit 1; }
echo "$port"
while read -r _; do :; done

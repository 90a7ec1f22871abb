# Holds one PostgreSQL server for as long as anybody holds the other end of standard input.
#
# Arguments: the private directory, the data directory, the signal that stops postgres, how many
# tenths of a second to wait for another holder, the directory of the binaries, initdb's flags up
# to a lone "--", and then the flags of postgres.
# Standard output and standard error are locked files, kept open only for their locks.
trap '' HUP INT QUIT TERM
dir=$1 data=$2 signal=$3 linger=$4 bin=$5
shift 5
exec 3>&1 4>&2 >>"$dir/log" 2>&1

# A half-made cluster never gets the name of a whole one.
initialize() {
    rm -rf "$data.new"
    set -- "$bin/initdb" -D "$data.new" "$@"
    "$@" >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log"; return 1; }
    mv "$data.new" "$data"
}

serve() {
    flags=
    while [ "$1" != -- ]; do
        flags="$flags $1"
        shift
    done
    shift
    # Unquoted on purpose: none of initdb's flags holds a space.
    [ -f "$data/PG_VERSION" ] || initialize $flags || return
    sh -c 'echo $$ >"$0/pid" && exec "$@"' "$dir" "$bin/postgres" -D "$data" -k "$dir" "$@"
}

# The server does not hold the directory's lock (3): without us, it is of no use to anybody. It
# does hold the lock of a kept cluster (4), which must not be started a second time.
{ serve "$@"; : >"$dir/exited"; } </dev/null 3>&- &

# Every line read is the name of a file that tells a new holder that it is in time.
idle=0
while [ "$idle" -le "$linger" ]; do
    while read -r holder; do
        : >"$dir/$holder"
        idle=0
    done
    [ "$idle" -ge "$linger" ] || sleep 0.1
    idle=$((idle + 1))
done

# The signal is repeated because postgres ignores it until its handlers are in place.
tries=0
while [ ! -e "$dir/exited" ]; do
    if [ ! -d "$dir" ]; then
        read -r pid <"$data/postmaster.pid" && kill -s "$signal" "$pid"
        exit
    fi
    if [ -e "$dir/pid" ] && read -r pid <"$dir/pid"; then
        [ "$tries" -lt 400 ] || signal=KILL
        kill -s "$signal" "$pid" || break
        tries=$((tries + 1))
    fi
    sleep 0.05
done

# The lock file goes last: whatever has one and does not hold it is swept by the next start.
for _ in 1 2 3 4 5; do
    rm -rf "$dir/data" "$dir/data.new" && rm -rf "$dir" && break
    sleep 0.2
done

#!/usr/bin/env bash
# Drains real servers and reports what it saw: one line a check, then the sum.
# Needs curl, and wsctl on PATH or PYTHON, an interpreter that has it. Exits with 1 when a check failed.
set -uo pipefail

if [[ -n ${PYTHON:-} ]]; then wsctl=("$PYTHON" -m wsctl); else wsctl=(wsctl); fi
for program in curl "${wsctl[0]}"; do
    command -v "$program" >/dev/null || { echo "$0: $program is not installed" >&2; exit 2; }
done

unset "${!WSCTL_@}"
folder=$(mktemp -d) || exit 2
export WSCTL_RUNTIME_DIR=$folder/run
processes=()
passed=0 failed=0

# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    [[ ${#processes[@]} -eq 0 ]] || kill -KILL "${processes[@]}" 2>/dev/null
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- checks ---

# now TEXT COMMAND...: the command holds.
now() {
    local text=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok      $text"
    else
        failed=$((failed + 1))
        echo "FAILED  $text"
        return 1
    fi
}

# soon SECONDS TEXT COMMAND...: the command comes to hold.
soon() {
    local seconds=$1 text=$2
    shift 2
    now "$text" within "$seconds" "$@"
}

within() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS <= end)) || return 1
        sleep 0.1
    done
}

report() {
    [[ $failed -eq 0 ]] || sed 's/^/        /' "$folder"/*.log >&2
    echo "$passed passed, $failed failed"
    [[ $failed -eq 0 ]]
}

# --- what can be asked ---

# answers PATH CODE PATTERN: the server's HTTP status and body.
answers() {
    local code
    code=$(curl -s --noproxy '*' --max-time 5 -o "$folder/body" -w '%{http_code}' "$url$1")
    [[ $code == "$2" ]] && grep -Eq "$3" "$folder/body"
}

shows() { grep -Eq -- "$2" "$folder/$1" 2>/dev/null; }
lacks() { ! shows "$@"; }
runs() { kill -0 "$1" 2>/dev/null; }
ended() { ! runs "$1"; }
told_or_ended() { test -s "$folder/$1.url" || ended "$server"; }

all_show() {
    shows bob "$1" && shows eve "$1" && shows kim "$1"
}

# broadcast TEXT COUNT: it reaches so many clients.
broadcast() {
    "${wsctl[@]}" broadcast --json "$1" >"$folder/sent" && shows sent "\"recipients\": ?$2[,}]"
}

# exited CODE: what the ended server returned.
exited() {
    wait "$server"
    [[ $? -eq $1 ]]
}

# --- what can be done ---

# start NAME FLAGS...: a server on a free port; sets server and url. Its log is NAME.log.
start() {
    local name=$1
    shift
    "${wsctl[@]}" serve --port 0 --broadcast-interval 0 "$@" >"$folder/$name.url" 2>"$folder/$name.log" &
    server=$!
    processes+=("$server")
    within 15 told_or_ended "$name"
    now "$name: the server starts" test -s "$folder/$name.url" || { report; exit; }
    url=$(head -n 1 "$folder/$name.url")
}

# join ID: a client that stays; sets client. What it sees is in the file ID.
join() {
    "${wsctl[@]}" client --id "$1" --json --for 120 </dev/null >"$folder/$1" 2>&1 &
    client=$!
    processes+=("$client")
    disown "$client" # or bash reports its end
}

# --- clients stay, then leave ---

start drain --shutdown-timeout 60
soon 5 "/health answers 200, serving" answers /health 200 '"status": ?"serving"'
soon 5 "/health/ready answers 200" answers /health/ready 200 serving
soon 5 "/health/live answers 200" answers /health/live 200 serving

join bob && bob=$client
join eve && eve=$client
join kim && kim=$client
soon 15 "three clients are welcomed" all_show '"type": ?"welcome"'
now "/health counts them" answers /health 200 '"connections": ?3[,}]'
now "a broadcast finds three clients" broadcast hello 3
soon 5 "each of them gets it" all_show '"data": ?"hello"'

kill -TERM "$server"
soon 5 "after SIGTERM /health says draining" answers /health 200 '"status": ?"draining"'
now "/health/ready answers 503" answers /health/ready 503 draining
now "/health/live still answers 200" answers /health/live 200 draining
soon 5 "the clients are told" all_show '"type": ?"shutdown"'
soon 5 "the log says who is left and how long they have" \
    shows drain.log ' draining .*active=3 (.* )?elapsed_s=0\.[0-9]+ (.* )?remaining_s=(60|59)\.'

join late
soon 15 "a new client is turned away with 1001" shows late '"code": ?1001[,}]'
now "it was never welcomed" lacks late '"type": ?"welcome"'
kill -TERM "$client"
now "a broadcast still finds the three" broadcast 'still here' 3
soon 5 "each of them gets it" all_show '"data": ?"still here"'

soon 15 "after 10 s the log shows the progress" \
    shows drain.log ' still draining .*active=3 (.* )?elapsed_s=1[0-9]\.[0-9]+ (.* )?remaining_s=(50|4[0-9])\.'
now "the server waits for its clients" runs "$server"
kill -TERM "$bob" "$eve"
soon 5 "two leave, one is left" answers /health 200 '"connections": ?1[,}]'
now "the server waits for the last one" runs "$server"
kill -TERM "$kim"
soon 2 "the last one leaves, the server ends" ended "$server"
now "its exit code is 0" exited 0
now "the log says so" shows drain.log ' drained .*active=0 .*left=3 .*forced=0 .*exit_code=0'

# --- nobody is there ---

start empty --shutdown-timeout 60
kill -TERM "$server"
soon 2 "without clients the server ends at once" ended "$server"
now "its exit code is 0" exited 0

# --- a client stays too long ---

start deadline --shutdown-timeout 1
join amy
soon 15 "a client is welcomed" shows amy '"type": ?"welcome"'
kill -TERM "$server"
soon 5 "the deadline closes it with 1012" shows amy '"code": ?1012[,}]'
soon 2 "the server ends" ended "$server"
now "its exit code is 4" exited 4

report

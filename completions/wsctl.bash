# Completion of wsctl for bash, made by: wsctl completions bash
# shellcheck shell=bash

# What option $2 of command $1 takes; $1 is empty before the command. A flag takes nothing.
_wsctl_value() {
    takes='' words=''
    case $1:$2 in
        serve:--app-dir) takes=any ;;
        serve:--env-file) takes=path ;;
        serve:--startup-timeout) takes=any ;;
        serve:--hook-timeout) takes=any ;;
        serve:--reload-dir) takes=any ;;
        serve:--host) takes=any ;;
        serve:--port) takes=any ;;
        serve:--admin-host) takes=any ;;
        serve:--admin-port) takes=any ;;
        serve:--uds) takes=path ;;
        serve:--fd) takes=any ;;
        serve:--backlog) takes=any ;;
        serve:--ssl-certfile) takes=path ;;
        serve:--ssl-keyfile) takes=path ;;
        serve:--forwarded-allow-ips) takes=any ;;
        serve:--root-path) takes=any ;;
        serve:--shutdown-timeout) takes=any ;;
        serve:--drain-delay) takes=any ;;
        serve:--drain-spread) takes=any ;;
        serve:--reconnect-window) takes=any ;;
        serve:--drain-policy) takes=any ;;
        serve:--stop-timeout) takes=any ;;
        serve:--broadcast-interval) takes=any ;;
        serve:--history) takes=any ;;
        serve:--history-bytes) takes=any ;;
        serve:--history-ttl) takes=any ;;
        serve:--journal) takes=path ;;
        serve:--journal-sync) takes=word words='full normal' ;;
        serve:--client-publish) takes=any ;;
        serve:--client-subscribe) takes=any ;;
        serve:--max-connections) takes=any ;;
        serve:--max-connection-age) takes=any ;;
        serve:--connections-per-id) takes=any ;;
        serve:--max-subscriptions) takes=any ;;
        serve:--max-message-size) takes=any ;;
        serve:--max-queue) takes=any ;;
        serve:--rate) takes=any ;;
        serve:--ping-interval) takes=any ;;
        serve:--ping-timeout) takes=any ;;
        serve:--allow-origin) takes=any ;;
        serve:--allow-host) takes=any ;;
        serve:--auth) takes=word words='none token jwt' ;;
        serve:--jwt-key) takes=path ;;
        serve:--jwt-algorithm) takes=any ;;
        serve:--jwt-audience) takes=any ;;
        serve:--workers) takes=any ;;
        serve:--redis) takes=any ;;
        serve:--redis-prefix) takes=any ;;
        serve:--max-draining) takes=any ;;
        serve:--log-level) takes=word words='debug info warning error' ;;
        serve:--log-format) takes=word words='auto text json' ;;
        serve:--tracing) takes=word words='off on messages' ;;
        check:--unit) takes=any ;;
        check:--app-dir) takes=any ;;
        check:--env-file) takes=path ;;
        check:--startup-timeout) takes=any ;;
        check:--hook-timeout) takes=any ;;
        check:--reload-dir) takes=any ;;
        check:--host) takes=any ;;
        check:--port) takes=any ;;
        check:--admin-host) takes=any ;;
        check:--admin-port) takes=any ;;
        check:--uds) takes=path ;;
        check:--fd) takes=any ;;
        check:--backlog) takes=any ;;
        check:--ssl-certfile) takes=path ;;
        check:--ssl-keyfile) takes=path ;;
        check:--forwarded-allow-ips) takes=any ;;
        check:--root-path) takes=any ;;
        check:--shutdown-timeout) takes=any ;;
        check:--drain-delay) takes=any ;;
        check:--drain-spread) takes=any ;;
        check:--reconnect-window) takes=any ;;
        check:--drain-policy) takes=any ;;
        check:--stop-timeout) takes=any ;;
        check:--broadcast-interval) takes=any ;;
        check:--history) takes=any ;;
        check:--history-bytes) takes=any ;;
        check:--history-ttl) takes=any ;;
        check:--journal) takes=path ;;
        check:--journal-sync) takes=word words='full normal' ;;
        check:--client-publish) takes=any ;;
        check:--client-subscribe) takes=any ;;
        check:--max-connections) takes=any ;;
        check:--max-connection-age) takes=any ;;
        check:--connections-per-id) takes=any ;;
        check:--max-subscriptions) takes=any ;;
        check:--max-message-size) takes=any ;;
        check:--max-queue) takes=any ;;
        check:--rate) takes=any ;;
        check:--ping-interval) takes=any ;;
        check:--ping-timeout) takes=any ;;
        check:--allow-origin) takes=any ;;
        check:--allow-host) takes=any ;;
        check:--auth) takes=word words='none token jwt' ;;
        check:--jwt-key) takes=path ;;
        check:--jwt-algorithm) takes=any ;;
        check:--jwt-audience) takes=any ;;
        check:--workers) takes=any ;;
        check:--redis) takes=any ;;
        check:--redis-prefix) takes=any ;;
        check:--max-draining) takes=any ;;
        check:--log-level) takes=word words='debug info warning error' ;;
        check:--log-format) takes=word words='auto text json' ;;
        check:--tracing) takes=word words='off on messages' ;;
        client:--id) takes=any ;;
        client:--topic) takes=any ;;
        client:--publish-to) takes=any ;;
        client:--url) takes=any ;;
        client:--port) takes=any ;;
        client:--clients) takes=any ;;
        client:--count) takes=any ;;
        client:--for) takes=any ;;
        broadcast:--lines) takes=path ;;
        broadcast:--to) takes=any ;;
        broadcast:--topic) takes=any ;;
        broadcast:--url) takes=any ;;
        broadcast:--port) takes=any ;;
        status:--url) takes=any ;;
        status:--port) takes=any ;;
        disconnect:--code) takes=any ;;
        disconnect:--reason) takes=any ;;
        disconnect:--url) takes=any ;;
        disconnect:--port) takes=any ;;
        dashboard:--url) takes=any ;;
        dashboard:--port) takes=any ;;
        drain:--timeout) takes=any ;;
        drain:--url) takes=any ;;
        drain:--port) takes=any ;;
        upgrade:--url) takes=any ;;
        upgrade:--port) takes=any ;;
        stress:--clients) takes=any ;;
        stress:--duration) takes=any ;;
        stress:--rate) takes=any ;;
        stress:--size) takes=any ;;
        stress:--topics) takes=any ;;
        stress:--id) takes=any ;;
        stress:--url) takes=any ;;
        stress:--port) takes=any ;;
        stress:--jwt-key) takes=path ;;
        stress:--jwt-algorithm) takes=any ;;
        stress:--jwt-audience) takes=any ;;
        token:--id) takes=any ;;
        token:--ttl) takes=any ;;
        token:--subscribe) takes=any ;;
        token:--publish) takes=any ;;
        token:--jwt-key) takes=path ;;
        token:--jwt-algorithm) takes=any ;;
        token:--jwt-audience) takes=any ;;
        journal:--port) takes=any ;;
        generate:--output | generate:-o) takes=path ;;
        generate:--upstream) takes=any ;;
        generate:--program) takes=path ;;
        generate:--app-dir) takes=any ;;
        generate:--env-file) takes=path ;;
        generate:--startup-timeout) takes=any ;;
        generate:--hook-timeout) takes=any ;;
        generate:--reload-dir) takes=any ;;
        generate:--host) takes=any ;;
        generate:--port) takes=any ;;
        generate:--admin-host) takes=any ;;
        generate:--admin-port) takes=any ;;
        generate:--uds) takes=path ;;
        generate:--fd) takes=any ;;
        generate:--backlog) takes=any ;;
        generate:--ssl-certfile) takes=path ;;
        generate:--ssl-keyfile) takes=path ;;
        generate:--forwarded-allow-ips) takes=any ;;
        generate:--root-path) takes=any ;;
        generate:--shutdown-timeout) takes=any ;;
        generate:--drain-delay) takes=any ;;
        generate:--drain-spread) takes=any ;;
        generate:--reconnect-window) takes=any ;;
        generate:--drain-policy) takes=any ;;
        generate:--stop-timeout) takes=any ;;
        generate:--broadcast-interval) takes=any ;;
        generate:--history) takes=any ;;
        generate:--history-bytes) takes=any ;;
        generate:--history-ttl) takes=any ;;
        generate:--journal) takes=path ;;
        generate:--journal-sync) takes=word words='full normal' ;;
        generate:--client-publish) takes=any ;;
        generate:--client-subscribe) takes=any ;;
        generate:--max-connections) takes=any ;;
        generate:--max-connection-age) takes=any ;;
        generate:--connections-per-id) takes=any ;;
        generate:--max-subscriptions) takes=any ;;
        generate:--max-message-size) takes=any ;;
        generate:--max-queue) takes=any ;;
        generate:--rate) takes=any ;;
        generate:--ping-interval) takes=any ;;
        generate:--ping-timeout) takes=any ;;
        generate:--allow-origin) takes=any ;;
        generate:--allow-host) takes=any ;;
        generate:--auth) takes=word words='none token jwt' ;;
        generate:--jwt-key) takes=path ;;
        generate:--jwt-algorithm) takes=any ;;
        generate:--jwt-audience) takes=any ;;
        generate:--workers) takes=any ;;
        generate:--redis) takes=any ;;
        generate:--redis-prefix) takes=any ;;
        generate:--max-draining) takes=any ;;
        generate:--log-level) takes=word words='debug info warning error' ;;
        generate:--log-format) takes=word words='auto text json' ;;
        generate:--tracing) takes=word words='off on messages' ;;
    esac
}

# What stands in place $2, from 0, of command $1.
_wsctl_argument() {
    takes='' words=''
    case $1:$2 in
        serve:0) takes=any ;;
        check:0) takes=any ;;
        broadcast:0) takes=any ;;
        disconnect:0) takes=any ;;
        journal:0) takes=path ;;
        generate:0) takes=word words='systemd systemd-socket systemd-template nginx docker compose k8s grafana alerts python node browser eventsource react app app-test' ;;
        generate:1) takes=any ;;
        docs:0) takes=word words='quickstart examples python applications architecture topics protocol log deploy flags operations performance security' ;;
        completions:0) takes=word words='bash zsh fish' ;;
    esac
}

_wsctl_options() {
    takes=word words=''
    case $1 in
        '') words='--version -V --no-color -h --help' ;;
        serve) words='--app-dir --factory --no-factory --env-file --startup-timeout --hook-timeout --reload --no-reload --reload-dir --host --port --admin-host --admin-port --uds --fd --backlog --ssl-certfile --ssl-keyfile --proxy-headers --no-proxy-headers --forwarded-allow-ips --root-path --shutdown-timeout --drain-delay --drain-spread --reconnect-window --drain-policy --stop-timeout --broadcast-interval --history --history-bytes --history-ttl --journal --journal-sync --client-publish --no-client-publish --client-subscribe --no-client-subscribe --client-direct --no-client-direct --max-connections --max-connection-age --connections-per-id --max-subscriptions --max-message-size --max-queue --rate --ping-interval --ping-timeout --allow-origin --allow-host --auth --jwt-key --jwt-algorithm --jwt-audience --auth-query --no-auth-query --workers --redis --redis-prefix --max-draining --log-level --log-format --access-log --no-access-log --tracing -h --help' ;;
        check) words='--unit --json --app-dir --factory --no-factory --env-file --startup-timeout --hook-timeout --reload --no-reload --reload-dir --host --port --admin-host --admin-port --uds --fd --backlog --ssl-certfile --ssl-keyfile --proxy-headers --no-proxy-headers --forwarded-allow-ips --root-path --shutdown-timeout --drain-delay --drain-spread --reconnect-window --drain-policy --stop-timeout --broadcast-interval --history --history-bytes --history-ttl --journal --journal-sync --client-publish --no-client-publish --client-subscribe --no-client-subscribe --client-direct --no-client-direct --max-connections --max-connection-age --connections-per-id --max-subscriptions --max-message-size --max-queue --rate --ping-interval --ping-timeout --allow-origin --allow-host --auth --jwt-key --jwt-algorithm --jwt-audience --auth-query --no-auth-query --workers --redis --redis-prefix --max-draining --log-level --log-format --access-log --no-access-log --tracing -h --help' ;;
        client) words='--id --topic --publish-to --url --port --clients --count --for --sse --json -h --help' ;;
        broadcast) words='--lines --to --show-to --topic --parse --allow-empty --url --port --json -h --help' ;;
        status) words='--clients --topics --watch --url --port --json -h --help' ;;
        disconnect) words='--code --reason --url --port --json -h --help' ;;
        dashboard) words='--no-browser --url --port --json -h --help' ;;
        drain) words='--timeout --cancel --no-wait --url --port --json -h --help' ;;
        upgrade) words='--no-wait --url --port --json -h --help' ;;
        stress) words='--clients --duration --rate --size --topics --id --url --port --jwt-key --jwt-algorithm --jwt-audience --sse --json -h --help' ;;
        token) words='--id --ttl --subscribe --publish --direct --no-direct --jwt-key --jwt-algorithm --jwt-audience --json -h --help' ;;
        journal) words='--verify --port --json -h --help' ;;
        generate) words='--output -o --force --upstream --program --app-dir --factory --no-factory --env-file --startup-timeout --hook-timeout --reload --no-reload --reload-dir --host --port --admin-host --admin-port --uds --fd --backlog --ssl-certfile --ssl-keyfile --proxy-headers --no-proxy-headers --forwarded-allow-ips --root-path --shutdown-timeout --drain-delay --drain-spread --reconnect-window --drain-policy --stop-timeout --broadcast-interval --history --history-bytes --history-ttl --journal --journal-sync --client-publish --no-client-publish --client-subscribe --no-client-subscribe --client-direct --no-client-direct --max-connections --max-connection-age --connections-per-id --max-subscriptions --max-message-size --max-queue --rate --ping-interval --ping-timeout --allow-origin --allow-host --auth --jwt-key --jwt-algorithm --jwt-audience --auth-query --no-auth-query --workers --redis --redis-prefix --max-draining --log-level --log-format --access-log --no-access-log --tracing -h --help' ;;
        docs) words='--no-pager -h --help' ;;
        completions) words='-h --help' ;;
    esac
}

_wsctl_reply() {
    local match
    while IFS= read -r match; do
        COMPREPLY+=("$match")
    done < <(compgen "$@")
}

_wsctl() {
    local IFS=$' \t\n' current=${COMP_WORDS[COMP_CWORD]} word i
    local command='' place=0 ended='' takes='' words='' prefix=''
    # An option that waits for its value; "-" inside a word, which bash splits at = and :
    local pending=''
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = ]]; then
            pending=${pending:--}
        elif [[ $word == :* ]]; then
            pending=-
        elif [[ -n $pending ]]; then
            pending=''
        elif [[ -z $ended && $word == -- ]]; then
            ended=1
        elif [[ -z $ended && $word == -?* ]]; then
            _wsctl_value "$command" "$word"
            pending=${takes:+$word}
        elif [[ -z $command ]]; then
            command=$word
        else
            place=$((place + 1))
        fi
    done

    if [[ $current == = ]]; then
        current='' pending=${pending:--}
    elif [[ $current == :* ]]; then
        pending=-
    elif [[ -z $pending && -z $ended && $current == --*=* ]]; then
        # Only where = is taken out of COMP_WORDBREAKS.
        pending=${current%%=*} current=${current#*=}
        prefix=$pending=
    fi

    if [[ -n $pending ]]; then
        _wsctl_value "$command" "$pending"
    elif [[ -z $ended && $current == -* ]]; then
        _wsctl_options "$command"
    elif [[ -z $command ]]; then
        takes=word words='serve check client broadcast status disconnect dashboard drain upgrade stress token journal generate docs completions'
    else
        _wsctl_argument "$command" "$place"
    fi

    if [[ $takes == word ]]; then
        _wsctl_reply -P "$prefix" -W "$words" -- "$current"
    elif [[ $takes == path && -z $prefix ]] && compopt -o default 2>/dev/null; then
        : # readline completes the file: it knows about quotes and ~
    elif [[ $takes == path ]]; then
        _wsctl_reply -P "$prefix" -f -- "$current"
    fi
}

complete -F _wsctl wsctl

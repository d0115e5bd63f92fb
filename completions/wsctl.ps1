# Completion of wsctl for PowerShell, made by: wsctl completions powershell

Register-ArgumentCompleter -Native -CommandName wsctl -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commands = @(
        @{ Name = 'serve'; Help = 'Run a server; on Ctrl-C or SIGTERM it drains: clients may leave by themselves, then it ends.' }
        @{ Name = 'check'; Help = 'Say what will bite a server with these settings on this machine, and how to mend it.' }
        @{ Name = 'client'; Help = 'Show what arrives, send what is typed, and reconnect when the connection is lost.' }
        @{ Name = 'broadcast'; Help = 'Send one message to every client, or to some; prints its id and how many got it.' }
        @{ Name = 'status'; Help = 'Show phase, connections, rates and drain of the servers of this machine, or of one elsewhere.' }
        @{ Name = 'drain'; Help = 'Drain a server, or move the deadline of its drain, and show it to its end.' }
        @{ Name = 'upgrade'; Help = 'Replace a running server by a fresh process, and show that to its end.' }
        @{ Name = 'stress'; Help = 'Put clients on servers, send messages, and account for each one that is due.' }
        @{ Name = 'token'; Help = 'Make a token for one client of a server of ''--auth jwt''.' }
        @{ Name = 'generate'; Help = 'Print a ready file, filled from the same settings as ''wsctl serve''.' }
        @{ Name = 'docs'; Help = 'Show a page of the manual, or without TOPIC which there are.' }
        @{ Name = 'completions'; Help = 'Print the completion script of a shell.' }
    )
    # By command; '' is before the command. A flag takes nothing.
    $options = @{
        '' = @(
            @{ Name = '--version'; Help = 'Print the version.' }
            @{ Name = '-V'; Help = 'Print the version.' }
            @{ Name = '--no-color'; Help = 'No colour anywhere.' }
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
        'serve' = @(
            @{ Name = '--host'; Help = 'Address to listen on. [default: 127.0.0.1]'; Takes = 'any'; Words = @() }
            @{ Name = '--port'; Help = 'Port to listen on; 0 picks one and prints it. [default: 8000]'; Takes = 'any'; Words = @() }
            @{ Name = '--uds'; Help = 'Listen on a Unix socket instead.'; Takes = 'file'; Words = @() }
            @{ Name = '--fd'; Help = 'Listen on a socket inherited as this descriptor.'; Takes = 'any'; Words = @() }
            @{ Name = '--backlog'; Help = 'Connections the kernel may hold for us. [default: 2048]'; Takes = 'any'; Words = @() }
            @{ Name = '--ssl-certfile'; Help = 'Certificate chain, PEM.'; Takes = 'file'; Words = @() }
            @{ Name = '--ssl-keyfile'; Help = 'Private key, PEM.'; Takes = 'file'; Words = @() }
            @{ Name = '--proxy-headers'; Help = 'Believe X-Forwarded-* from trusted proxies. [default: on]' }
            @{ Name = '--no-proxy-headers'; Help = 'The opposite of --proxy-headers.' }
            @{ Name = '--forwarded-allow-ips'; Help = 'Proxies to believe; loopback unless given.'; Takes = 'any'; Words = @() }
            @{ Name = '--root-path'; Help = 'Path under which a proxy serves this server.'; Takes = 'any'; Words = @() }
            @{ Name = '--shutdown-timeout'; Help = 'Longest drain; then clients are closed by force. [default: 1800]'; Takes = 'any'; Words = @() }
            @{ Name = '--drain-delay'; Help = 'Readiness fails first; clients are still taken that long, and told after it. [default: 0]'; Takes = 'any'; Words = @() }
            @{ Name = '--drain-spread'; Help = 'Before the deadline, the remaining clients are closed evenly over that long. [default: 0]'; Takes = 'any'; Words = @() }
            @{ Name = '--reconnect-window'; Help = 'Clients are asked to leave, each at its own moment in that time. [default: 0]'; Takes = 'any'; Words = @() }
            @{ Name = '--stop-timeout'; Help = 'Time the platform leaves between SIGTERM and SIGKILL.'; Takes = 'any'; Words = @() }
            @{ Name = '--broadcast-interval'; Help = 'Time between two periodic test messages; 0 turns them off. [default: 10]'; Takes = 'any'; Words = @() }
            @{ Name = '--history'; Help = 'Messages kept for clients that resume; 0 keeps none. [default: 10000]'; Takes = 'any'; Words = @() }
            @{ Name = '--history-bytes'; Help = 'Bytes of them that are kept at most. [default: 67108864]'; Takes = 'any'; Words = @() }
            @{ Name = '--client-publish'; Help = 'Whether what a client sends is broadcast. [default: on]' }
            @{ Name = '--no-client-publish'; Help = 'The opposite of --client-publish.' }
            @{ Name = '--max-connections'; Help = 'Clients at a time; from the limit of open files unless given.'; Takes = 'any'; Words = @() }
            @{ Name = '--max-message-size'; Help = 'Longest message a client may send. [default: 65536]'; Takes = 'any'; Words = @() }
            @{ Name = '--max-queue'; Help = 'Bytes that may wait for one client. [default: 1048576]'; Takes = 'any'; Words = @() }
            @{ Name = '--rate'; Help = 'Messages a client may send: 20/s:40 is 40 at once. [default: 20/s:40]'; Takes = 'any'; Words = @() }
            @{ Name = '--ping-interval'; Help = 'Silence after which a client is pinged. [default: 20]'; Takes = 'any'; Words = @() }
            @{ Name = '--ping-timeout'; Help = 'Time a client has to answer a ping. [default: 20]'; Takes = 'any'; Words = @() }
            @{ Name = '--allow-origin'; Help = 'Let browsers from this origin connect (repeat; https://*.example.org for subdomains, * for all).'; Takes = 'any'; Words = @() }
            @{ Name = '--allow-host'; Help = 'A name of a server on loopback beside localhost (repeat; * for all).'; Takes = 'any'; Words = @() }
            @{ Name = '--auth'; Help = 'What a client must show to connect: none, token or jwt. [default: none]'; Takes = 'word'; Words = @('none', 'token', 'jwt') }
            @{ Name = '--jwt-key'; Help = 'Checks a JWT: a public key (PEM), a JWKS, or a shared secret.'; Takes = 'file'; Words = @() }
            @{ Name = '--jwt-algorithm'; Help = 'What --jwt-key is for: HS256 (a secret), RS256 or EdDSA.'; Takes = 'any'; Words = @() }
            @{ Name = '--jwt-audience'; Help = 'Audience that a JWT must be for.'; Takes = 'any'; Words = @() }
            @{ Name = '--auth-query'; Help = 'Take a client''s token from ?access_token= too. [default: off]' }
            @{ Name = '--no-auth-query'; Help = 'The opposite of --auth-query.' }
            @{ Name = '--workers'; Help = 'Processes that serve on the same address. [default: 1]'; Takes = 'any'; Words = @() }
            @{ Name = '--redis'; Help = 'Share messages, history and presence with other servers.'; Takes = 'any'; Words = @() }
            @{ Name = '--redis-prefix'; Help = 'What its keys begin with. [default: wsctl]'; Takes = 'any'; Words = @() }
            @{ Name = '--max-draining'; Help = 'Servers of one Redis that drain at a time; the others wait. 0: all.'; Takes = 'any'; Words = @() }
            @{ Name = '--log-level'; Help = 'debug, info, warning or error. [default: info]'; Takes = 'word'; Words = @('debug', 'info', 'warning', 'error') }
            @{ Name = '--log-format'; Help = 'auto, text or json. [default: auto]'; Takes = 'word'; Words = @('auto', 'text', 'json') }
            @{ Name = '--access-log'; Help = 'Log each HTTP request. [default: off]' }
            @{ Name = '--no-access-log'; Help = 'The opposite of --access-log.' }
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
        'check' = @(
            @{ Name = '--unit'; Help = 'The systemd service that is to run the server.'; Takes = 'any'; Words = @() }
            @{ Name = '--json'; Help = 'Print JSON: one object, or one a line.' }
            @{ Name = '--host'; Help = 'Address to listen on. [default: 127.0.0.1]'; Takes = 'any'; Words = @() }
            @{ Name = '--port'; Help = 'Port to listen on; 0 picks one and prints it. [default: 8000]'; Takes = 'any'; Words = @() }
            @{ Name = '--uds'; Help = 'Listen on a Unix socket instead.'; Takes = 'file'; Words = @() }
            @{ Name = '--fd'; Help = 'Listen on a socket inherited as this descriptor.'; Takes = 'any'; Words = @() }
            @{ Name = '--backlog'; Help = 'Connections the kernel may hold for us. [default: 2048]'; Takes = 'any'; Words = @() }
            @{ Name = '--ssl-certfile'; Help = 'Certificate chain, PEM.'; Takes = 'file'; Words = @() }
            @{ Name = '--ssl-keyfile'; Help = 'Private key, PEM.'; Takes = 'file'; Words = @() }
            @{ Name = '--proxy-headers'; Help = 'Believe X-Forwarded-* from trusted proxies. [default: on]' }
            @{ Name = '--no-proxy-headers'; Help = 'The opposite of --proxy-headers.' }
            @{ Name = '--forwarded-allow-ips'; Help = 'Proxies to believe; loopback unless given.'; Takes = 'any'; Words = @() }
            @{ Name = '--root-path'; Help = 'Path under which a proxy serves this server.'; Takes = 'any'; Words = @() }
            @{ Name = '--shutdown-timeout'; Help = 'Longest drain; then clients are closed by force. [default: 1800]'; Takes = 'any'; Words = @() }
            @{ Name = '--drain-delay'; Help = 'Readiness fails first; clients are still taken that long, and told after it. [default: 0]'; Takes = 'any'; Words = @() }
            @{ Name = '--drain-spread'; Help = 'Before the deadline, the remaining clients are closed evenly over that long. [default: 0]'; Takes = 'any'; Words = @() }
            @{ Name = '--reconnect-window'; Help = 'Clients are asked to leave, each at its own moment in that time. [default: 0]'; Takes = 'any'; Words = @() }
            @{ Name = '--stop-timeout'; Help = 'Time the platform leaves between SIGTERM and SIGKILL.'; Takes = 'any'; Words = @() }
            @{ Name = '--broadcast-interval'; Help = 'Time between two periodic test messages; 0 turns them off. [default: 10]'; Takes = 'any'; Words = @() }
            @{ Name = '--history'; Help = 'Messages kept for clients that resume; 0 keeps none. [default: 10000]'; Takes = 'any'; Words = @() }
            @{ Name = '--history-bytes'; Help = 'Bytes of them that are kept at most. [default: 67108864]'; Takes = 'any'; Words = @() }
            @{ Name = '--client-publish'; Help = 'Whether what a client sends is broadcast. [default: on]' }
            @{ Name = '--no-client-publish'; Help = 'The opposite of --client-publish.' }
            @{ Name = '--max-connections'; Help = 'Clients at a time; from the limit of open files unless given.'; Takes = 'any'; Words = @() }
            @{ Name = '--max-message-size'; Help = 'Longest message a client may send. [default: 65536]'; Takes = 'any'; Words = @() }
            @{ Name = '--max-queue'; Help = 'Bytes that may wait for one client. [default: 1048576]'; Takes = 'any'; Words = @() }
            @{ Name = '--rate'; Help = 'Messages a client may send: 20/s:40 is 40 at once. [default: 20/s:40]'; Takes = 'any'; Words = @() }
            @{ Name = '--ping-interval'; Help = 'Silence after which a client is pinged. [default: 20]'; Takes = 'any'; Words = @() }
            @{ Name = '--ping-timeout'; Help = 'Time a client has to answer a ping. [default: 20]'; Takes = 'any'; Words = @() }
            @{ Name = '--allow-origin'; Help = 'Let browsers from this origin connect (repeat; https://*.example.org for subdomains, * for all).'; Takes = 'any'; Words = @() }
            @{ Name = '--allow-host'; Help = 'A name of a server on loopback beside localhost (repeat; * for all).'; Takes = 'any'; Words = @() }
            @{ Name = '--auth'; Help = 'What a client must show to connect: none, token or jwt. [default: none]'; Takes = 'word'; Words = @('none', 'token', 'jwt') }
            @{ Name = '--jwt-key'; Help = 'Checks a JWT: a public key (PEM), a JWKS, or a shared secret.'; Takes = 'file'; Words = @() }
            @{ Name = '--jwt-algorithm'; Help = 'What --jwt-key is for: HS256 (a secret), RS256 or EdDSA.'; Takes = 'any'; Words = @() }
            @{ Name = '--jwt-audience'; Help = 'Audience that a JWT must be for.'; Takes = 'any'; Words = @() }
            @{ Name = '--auth-query'; Help = 'Take a client''s token from ?access_token= too. [default: off]' }
            @{ Name = '--no-auth-query'; Help = 'The opposite of --auth-query.' }
            @{ Name = '--workers'; Help = 'Processes that serve on the same address. [default: 1]'; Takes = 'any'; Words = @() }
            @{ Name = '--redis'; Help = 'Share messages, history and presence with other servers.'; Takes = 'any'; Words = @() }
            @{ Name = '--redis-prefix'; Help = 'What its keys begin with. [default: wsctl]'; Takes = 'any'; Words = @() }
            @{ Name = '--max-draining'; Help = 'Servers of one Redis that drain at a time; the others wait. 0: all.'; Takes = 'any'; Words = @() }
            @{ Name = '--log-level'; Help = 'debug, info, warning or error. [default: info]'; Takes = 'word'; Words = @('debug', 'info', 'warning', 'error') }
            @{ Name = '--log-format'; Help = 'auto, text or json. [default: auto]'; Takes = 'word'; Words = @('auto', 'text', 'json') }
            @{ Name = '--access-log'; Help = 'Log each HTTP request. [default: off]' }
            @{ Name = '--no-access-log'; Help = 'The opposite of --access-log.' }
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
        'client' = @(
            @{ Name = '--id'; Help = 'Name to connect as; the one in --url unless given.'; Takes = 'any'; Words = @() }
            @{ Name = '--url'; Help = 'Address of a server elsewhere.'; Takes = 'any'; Words = @() }
            @{ Name = '--port'; Help = 'Which server of this machine.'; Takes = 'any'; Words = @() }
            @{ Name = '--clients'; Help = 'Connect N clients: ID-1 to ID-N; the first one sends.'; Takes = 'any'; Words = @() }
            @{ Name = '--count'; Help = 'Leave after N messages (each client its own N).'; Takes = 'any'; Words = @() }
            @{ Name = '--for'; Help = 'Leave after this time.'; Takes = 'any'; Words = @() }
            @{ Name = '--json'; Help = 'Print JSON: one object, or one a line.' }
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
        'broadcast' = @(
            @{ Name = '--to'; Help = 'Only to this client (repeat).'; Takes = 'any'; Words = @() }
            @{ Name = '--show-to'; Help = 'Let each of --to see the others; else it sees itself alone.' }
            @{ Name = '--parse'; Help = 'MESSAGE is JSON: send the value instead of the text.' }
            @{ Name = '--allow-empty'; Help = 'Send a message without text too.' }
            @{ Name = '--url'; Help = 'Address of a server elsewhere.'; Takes = 'any'; Words = @() }
            @{ Name = '--port'; Help = 'Which server of this machine.'; Takes = 'any'; Words = @() }
            @{ Name = '--json'; Help = 'Print JSON: one object, or one a line.' }
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
        'status' = @(
            @{ Name = '--clients'; Help = 'List the clients too.' }
            @{ Name = '--watch'; Help = 'Once a second, until Ctrl-C.' }
            @{ Name = '--url'; Help = 'Address of a server elsewhere.'; Takes = 'any'; Words = @() }
            @{ Name = '--port'; Help = 'Which server of this machine.'; Takes = 'any'; Words = @() }
            @{ Name = '--json'; Help = 'Print JSON: one object, or one a line.' }
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
        'drain' = @(
            @{ Name = '--timeout'; Help = 'Longest drain, from when clients are told; the server''s own unless given.'; Takes = 'any'; Words = @() }
            @{ Name = '--cancel'; Help = 'Cancel the drain: back to serving.' }
            @{ Name = '--no-wait'; Help = 'Do not wait for the end.' }
            @{ Name = '--url'; Help = 'Address of a server elsewhere.'; Takes = 'any'; Words = @() }
            @{ Name = '--port'; Help = 'Which server of this machine.'; Takes = 'any'; Words = @() }
            @{ Name = '--json'; Help = 'Print JSON: one object, or one a line.' }
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
        'upgrade' = @(
            @{ Name = '--no-wait'; Help = 'Do not wait for the end.' }
            @{ Name = '--url'; Help = 'Address of a server elsewhere.'; Takes = 'any'; Words = @() }
            @{ Name = '--port'; Help = 'Which server of this machine.'; Takes = 'any'; Words = @() }
            @{ Name = '--json'; Help = 'Print JSON: one object, or one a line.' }
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
        'stress' = @(
            @{ Name = '--clients'; Help = 'Clients that connect.'; Takes = 'any'; Words = @() }
            @{ Name = '--duration'; Help = 'How long messages are sent.'; Takes = 'any'; Words = @() }
            @{ Name = '--rate'; Help = 'Messages a second, from all clients together.'; Takes = 'any'; Words = @() }
            @{ Name = '--size'; Help = 'Bytes in a message.'; Takes = 'any'; Words = @() }
            @{ Name = '--id'; Help = 'Clients connect as PREFIX-1 to PREFIX-N.'; Takes = 'any'; Words = @() }
            @{ Name = '--url'; Help = 'Address of a server elsewhere (repeat: several that share their messages).'; Takes = 'any'; Words = @() }
            @{ Name = '--port'; Help = 'Which server of this machine.'; Takes = 'any'; Words = @() }
            @{ Name = '--jwt-key'; Help = 'Signs tokens: a private key (PEM or JWK), or a shared secret.'; Takes = 'file'; Words = @() }
            @{ Name = '--jwt-algorithm'; Help = 'What --jwt-key is for: HS256 (a secret), RS256 or EdDSA.'; Takes = 'any'; Words = @() }
            @{ Name = '--jwt-audience'; Help = 'Audience that the tokens are for.'; Takes = 'any'; Words = @() }
            @{ Name = '--json'; Help = 'Print JSON: one object, or one a line.' }
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
        'token' = @(
            @{ Name = '--id'; Help = 'Client id that it is for.'; Takes = 'any'; Words = @() }
            @{ Name = '--ttl'; Help = 'How long it is good.'; Takes = 'any'; Words = @() }
            @{ Name = '--jwt-key'; Help = 'Signs tokens: a private key (PEM or JWK), or a shared secret.'; Takes = 'file'; Words = @() }
            @{ Name = '--jwt-algorithm'; Help = 'What --jwt-key is for: HS256 (a secret), RS256 or EdDSA.'; Takes = 'any'; Words = @() }
            @{ Name = '--jwt-audience'; Help = 'Audience that the tokens are for.'; Takes = 'any'; Words = @() }
            @{ Name = '--json'; Help = 'Print JSON: one object, or one a line.' }
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
        'generate' = @(
            @{ Name = '--output'; Help = 'Write it there, not to stdout.'; Takes = 'file'; Words = @() }
            @{ Name = '-o'; Help = 'Write it there, not to stdout.'; Takes = 'file'; Words = @() }
            @{ Name = '--force'; Help = 'Write over a file that is there.' }
            @{ Name = '--upstream'; Help = 'For nginx: a server behind it (repeat).'; Takes = 'any'; Words = @() }
            @{ Name = '--program'; Help = 'For systemd: where wsctl is, unless it is this one.'; Takes = 'file'; Words = @() }
            @{ Name = '--host'; Help = 'Address to listen on. [default: 127.0.0.1]'; Takes = 'any'; Words = @() }
            @{ Name = '--port'; Help = 'Port to listen on; 0 picks one and prints it. [default: 8000]'; Takes = 'any'; Words = @() }
            @{ Name = '--uds'; Help = 'Listen on a Unix socket instead.'; Takes = 'file'; Words = @() }
            @{ Name = '--fd'; Help = 'Listen on a socket inherited as this descriptor.'; Takes = 'any'; Words = @() }
            @{ Name = '--backlog'; Help = 'Connections the kernel may hold for us. [default: 2048]'; Takes = 'any'; Words = @() }
            @{ Name = '--ssl-certfile'; Help = 'Certificate chain, PEM.'; Takes = 'file'; Words = @() }
            @{ Name = '--ssl-keyfile'; Help = 'Private key, PEM.'; Takes = 'file'; Words = @() }
            @{ Name = '--proxy-headers'; Help = 'Believe X-Forwarded-* from trusted proxies. [default: on]' }
            @{ Name = '--no-proxy-headers'; Help = 'The opposite of --proxy-headers.' }
            @{ Name = '--forwarded-allow-ips'; Help = 'Proxies to believe; loopback unless given.'; Takes = 'any'; Words = @() }
            @{ Name = '--root-path'; Help = 'Path under which a proxy serves this server.'; Takes = 'any'; Words = @() }
            @{ Name = '--shutdown-timeout'; Help = 'Longest drain; then clients are closed by force. [default: 1800]'; Takes = 'any'; Words = @() }
            @{ Name = '--drain-delay'; Help = 'Readiness fails first; clients are still taken that long, and told after it. [default: 0]'; Takes = 'any'; Words = @() }
            @{ Name = '--drain-spread'; Help = 'Before the deadline, the remaining clients are closed evenly over that long. [default: 0]'; Takes = 'any'; Words = @() }
            @{ Name = '--reconnect-window'; Help = 'Clients are asked to leave, each at its own moment in that time. [default: 0]'; Takes = 'any'; Words = @() }
            @{ Name = '--stop-timeout'; Help = 'Time the platform leaves between SIGTERM and SIGKILL.'; Takes = 'any'; Words = @() }
            @{ Name = '--broadcast-interval'; Help = 'Time between two periodic test messages; 0 turns them off. [default: 10]'; Takes = 'any'; Words = @() }
            @{ Name = '--history'; Help = 'Messages kept for clients that resume; 0 keeps none. [default: 10000]'; Takes = 'any'; Words = @() }
            @{ Name = '--history-bytes'; Help = 'Bytes of them that are kept at most. [default: 67108864]'; Takes = 'any'; Words = @() }
            @{ Name = '--client-publish'; Help = 'Whether what a client sends is broadcast. [default: on]' }
            @{ Name = '--no-client-publish'; Help = 'The opposite of --client-publish.' }
            @{ Name = '--max-connections'; Help = 'Clients at a time; from the limit of open files unless given.'; Takes = 'any'; Words = @() }
            @{ Name = '--max-message-size'; Help = 'Longest message a client may send. [default: 65536]'; Takes = 'any'; Words = @() }
            @{ Name = '--max-queue'; Help = 'Bytes that may wait for one client. [default: 1048576]'; Takes = 'any'; Words = @() }
            @{ Name = '--rate'; Help = 'Messages a client may send: 20/s:40 is 40 at once. [default: 20/s:40]'; Takes = 'any'; Words = @() }
            @{ Name = '--ping-interval'; Help = 'Silence after which a client is pinged. [default: 20]'; Takes = 'any'; Words = @() }
            @{ Name = '--ping-timeout'; Help = 'Time a client has to answer a ping. [default: 20]'; Takes = 'any'; Words = @() }
            @{ Name = '--allow-origin'; Help = 'Let browsers from this origin connect (repeat; https://*.example.org for subdomains, * for all).'; Takes = 'any'; Words = @() }
            @{ Name = '--allow-host'; Help = 'A name of a server on loopback beside localhost (repeat; * for all).'; Takes = 'any'; Words = @() }
            @{ Name = '--auth'; Help = 'What a client must show to connect: none, token or jwt. [default: none]'; Takes = 'word'; Words = @('none', 'token', 'jwt') }
            @{ Name = '--jwt-key'; Help = 'Checks a JWT: a public key (PEM), a JWKS, or a shared secret.'; Takes = 'file'; Words = @() }
            @{ Name = '--jwt-algorithm'; Help = 'What --jwt-key is for: HS256 (a secret), RS256 or EdDSA.'; Takes = 'any'; Words = @() }
            @{ Name = '--jwt-audience'; Help = 'Audience that a JWT must be for.'; Takes = 'any'; Words = @() }
            @{ Name = '--auth-query'; Help = 'Take a client''s token from ?access_token= too. [default: off]' }
            @{ Name = '--no-auth-query'; Help = 'The opposite of --auth-query.' }
            @{ Name = '--workers'; Help = 'Processes that serve on the same address. [default: 1]'; Takes = 'any'; Words = @() }
            @{ Name = '--redis'; Help = 'Share messages, history and presence with other servers.'; Takes = 'any'; Words = @() }
            @{ Name = '--redis-prefix'; Help = 'What its keys begin with. [default: wsctl]'; Takes = 'any'; Words = @() }
            @{ Name = '--max-draining'; Help = 'Servers of one Redis that drain at a time; the others wait. 0: all.'; Takes = 'any'; Words = @() }
            @{ Name = '--log-level'; Help = 'debug, info, warning or error. [default: info]'; Takes = 'word'; Words = @('debug', 'info', 'warning', 'error') }
            @{ Name = '--log-format'; Help = 'auto, text or json. [default: auto]'; Takes = 'word'; Words = @('auto', 'text', 'json') }
            @{ Name = '--access-log'; Help = 'Log each HTTP request. [default: off]' }
            @{ Name = '--no-access-log'; Help = 'The opposite of --access-log.' }
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
        'docs' = @(
            @{ Name = '--no-pager'; Help = 'Print it all at once.' }
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
        'completions' = @(
            @{ Name = '-h'; Help = 'Show this message and exit.' }
            @{ Name = '--help'; Help = 'Show this message and exit.' }
        )
    }
    $arguments = @{
        'broadcast' = @(
            @{ Takes = 'any'; Words = @(); Repeats = $false }
        )
        'generate' = @(
            @{ Takes = 'word'; Words = @('systemd', 'systemd-socket', 'systemd-template', 'nginx', 'docker', 'compose', 'k8s', 'grafana', 'alerts', 'python', 'node', 'browser', 'react'); Repeats = $false }
        )
        'docs' = @(
            @{ Takes = 'word'; Words = @('quickstart', 'examples', 'architecture', 'protocol', 'deploy', 'operations', 'security'); Repeats = $false }
        )
        'completions' = @(
            @{ Takes = 'word'; Words = @('bash', 'zsh', 'fish', 'powershell'); Repeats = $false }
        )
    }

    $command = ''
    $place = 0
    $ended = $false
    $pending = $null
    foreach ($element in @($commandAst.CommandElements | Select-Object -Skip 1)) {
        if ($element.Extent.EndOffset -ge $cursorPosition) { break }
        $word = $element.Extent.Text
        if ($pending) { $pending = $null }
        elseif (-not $ended -and $word -eq '--') { $ended = $true }
        elseif (-not $ended -and $word -like '-?*') {
            $pending = @($options[$command]) | Where-Object { $_.Name -eq $word -and $_.Takes }
        }
        elseif ($command -eq '') { $command = $word }
        else { $place += 1 }
    }

    $typed = $wordToComplete
    $prefix = ''
    if (-not $pending -and -not $ended -and $typed -match '^(--[^=]+)=(.*)$') {
        $name = $Matches[1]
        $typed = $Matches[2]
        $prefix = "$name="
        $pending = @($options[$command]) | Where-Object { $_.Name -eq $name -and $_.Takes }
    }

    $offered = @()
    if (-not $pending -and -not $ended -and $typed -like '-*') { $offered = @($options[$command]) }
    elseif (-not $pending -and $command -eq '') { $offered = $commands }
    else {
        if (-not $pending) {
            $several = @($arguments[$command])
            $pending = $several[[Math]::Min($place, $several.Count - 1)]
            if ($place -ge $several.Count -and -not $pending.Repeats) { $pending = $null }
        }
        # With no answer at all, PowerShell completes files.
        if ($pending.Takes -eq 'file') { return }
        $offered = @($pending.Words | Where-Object { $_ } | ForEach-Object { @{ Name = $_; Help = $_ } })
    }

    $found = @($offered | Where-Object { $_.Name -and $_.Name.StartsWith($typed) } | ForEach-Object {
        $whole = $prefix + $_.Name
        [System.Management.Automation.CompletionResult]::new($whole, $_.Name, 'ParameterValue', $_.Help)
    })
    if ($found.Count) { $found } else { '' }
}

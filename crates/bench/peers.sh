#!/bin/sh
# Makes a root directory with the brokers that `compare` measures Quorate against, as Debian packages them: nats-server and
# rabbitmq-server with its Erlang. Nothing outside of the directory changes, and removing it removes them.
#
#     sudo crates/bench/peers.sh DIRECTORY
#     sudo compare --peers-root DIRECTORY
#
# Needs root and mmdebstrap (Debian, Ubuntu: `apt-get install mmdebstrap`), which fetches the packages from its default
# mirror; 260 MB. The suite is sid: it alone has current versions of both.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIRECTORY" >&2
    exit 2
fi

# A mirror's snapshot may be older than its signature says that it should be. apt: packages and what they depend on, no more.
exec mmdebstrap \
    --aptopt='Acquire::Check-Valid-Until "false"' \
    --variant=apt \
    --include=nats-server,rabbitmq-server \
    sid "$1"

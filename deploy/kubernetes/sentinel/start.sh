#!/bin/sh
# Starts a Valkey, or a Sentinel, on a configuration of its own beside its data: Sentinels write into both who is
# primary, so that whoever starts again, or all at once, takes the place it had, and not the one it had at first.
#
#   NAME=… FIRST=… start.sh valkey|sentinel    the name others reach it by, and that of the first primary
set -eu
what=$1
configuration=${DATA:-/data}/$what.conf
if [ ! -s "$configuration" ]; then
    {
        sed "s/FIRST/$FIRST/" "${TEMPLATES:-/}/$what.conf"
        if [ "$what" = sentinel ]; then
            echo "sentinel announce-ip $NAME"
        else
            echo "replica-announce-ip $NAME"
            [ "$NAME" = "$FIRST" ] || echo "replicaof $FIRST 6379"
        fi
    } >"$configuration.new"
    mv "$configuration.new" "$configuration"
fi
case $what in
valkey) exec valkey-server "$configuration" ;;
sentinel) exec valkey-server "$configuration" --sentinel ;;
esac

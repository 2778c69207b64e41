# Keeps a server running: supervise NAME FOLDER COMMAND...
# The folder has run/NAME.pid and log/NAME.log. A second call does nothing.
name=$1
dir=$2
shift 2
pid=$dir/run/$name.pid
log=$dir/log/$name.log
if read -r old <"$pid" && ps -p "$old" -o args= | grep -qF "$dir"; then
  exit 0
fi 2>/dev/null
keep='
name=$1 dir=$2
shift 2
echo $$ >"$dir/run/$name.pid"
child=
trap '\''[ -z "$child" ] || kill "$child"; exit 0'\'' TERM
while :; do
  "$@" &
  child=$!
  wait "$child"
  echo "$name ended with status $?, it is started again"
  sleep 2
done
'
setsid /bin/sh -c "$keep" keep "$name" "$dir" "$@" </dev/null >>"$log" 2>&1 &

#!/bin/bash
# Starts the control script of one run. It finds a Python for the control
# script itself; which one runs the user's script is the control script's matter.
setup="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
run="$(dirname "$setup")"
cd "$run" || exit 1
chmod 600 "$setup/credentials.json" "$setup/curl.conf" 2>/dev/null
mkdir -p "$run/azureml-logs" "$run/logs" "$run/outputs"

usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 5))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in python3 python \
        /usr/bin/python3 /usr/local/bin/python3 /opt/homebrew/bin/python3 \
        "$HOME"/.pyenv/shims/python3 "$HOME"/.pyenv/versions/3.*/bin/python3 \
        "$HOME"/anaconda3/bin/python "$HOME"/miniconda3/bin/python \
        /anaconda/bin/python /data/anaconda/bin/python /opt/conda/bin/python; do
        if usable "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

if ! python="$(find_python)"; then
    reason="No Python 3.5 or later was found on this machine; the control script of the run needs one."
    echo "$reason" >>"$run/azureml-logs/60_control_log.txt"
    # Without a Python, curl is the only voice left: curl.conf holds address and token.
    curl --config "$setup/curl.conf" >/dev/null 2>&1
    exit 1
fi
exec "$python" "$setup/control.py" "$@"

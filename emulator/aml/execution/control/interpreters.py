"""The Pythons of this machine, and the nearest to the one that was asked for."""
import glob
import os
import re
import shutil
import subprocess
import sys

import packages

_PROBE = "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys.prefix)"


class NoInterpreter(Exception):
    """No Python here will do."""


def resolve(path, root, environ):
    """The executable that interpreterPath means: a path, from the run's folder, or a name on PATH."""
    wanted = os.path.expanduser(os.path.expandvars(path or "python"))
    if os.sep in wanted:
        full = os.path.join(root, wanted)
        if os.path.isfile(full) and os.access(full, os.X_OK):
            return full
        raise NoInterpreter("The interpreter '%s' does not exist on this machine, or cannot be executed." % path)
    found = shutil.which(wanted, path=environ.get("PATH"))
    if found is None:
        raise NoInterpreter("The interpreter '%s' was not found on the PATH of this machine (%s)."
                            % (path or "python", environ.get("PATH", "")))
    return found


def version_of(executable):
    """((3, 6, 15), prefix) or None when it does not run."""
    try:
        out = subprocess.check_output([executable, "-c", _PROBE], stderr=subprocess.DEVNULL,
                                      stdin=subprocess.DEVNULL, timeout=20)
        lines = out.decode("utf-8", "replace").splitlines()
        return packages.numbers(lines[0]), lines[1]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


def candidates():
    """Executables that may be Pythons, most telling first, each once."""
    patterns = []
    for folder in os.environ.get("PATH", "").split(os.pathsep) + ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"]:
        if folder and "shims" not in folder.split(os.sep):
            patterns += [os.path.join(folder, "python[23].*"), os.path.join(folder, "python[23]"),
                         os.path.join(folder, "python")]
    for root in pyenv_roots():
        patterns.append(os.path.join(root, "versions", "*", "bin", "python"))
    patterns.append(os.path.expanduser("~/.local/share/uv/python/*/bin/python3"))
    patterns += [os.path.expanduser(p) for p in ("~/miniconda3/bin/python", "~/anaconda3/bin/python")]
    seen, out = set(), [sys.executable]
    for pattern in patterns:
        for path in sorted(glob.glob(pattern)):
            if re.match(r"^python([23](\.\d+)?)?$", os.path.basename(path)) and os.access(path, os.X_OK):
                real = os.path.realpath(path)
                # A virtual environment's python is a link to its base, but not the same thing.
                key = (real, os.path.isfile(os.path.join(os.path.dirname(os.path.dirname(path)), "pyvenv.cfg")))
                if key not in seen:
                    seen.add(key)
                    out.append(path)
    return out


def pyenv_roots():
    """Folders of pyenv, that of the command first."""
    roots = [os.environ.get("PYENV_ROOT"), os.path.expanduser("~/.pyenv")]
    if shutil.which("pyenv"):
        try:
            roots.insert(0, subprocess.check_output(["pyenv", "root"], stderr=subprocess.DEVNULL,
                                                    timeout=10).decode("utf-8").strip())
        except (OSError, subprocess.SubprocessError):
            pass
    out = []
    for root in roots:
        if root and root not in out:
            out.append(root)
    return out


def installed():
    """[(version, executable)] of this machine, one for each version."""
    found = {}
    for path in candidates():
        seen = version_of(path)
        if seen and seen[0] not in found and seen[0][0] in (2, 3):
            found[seen[0]] = path
    return sorted(found.items())


def choose(bounds, have):
    """(version, executable, note): the Python of have that satisfies bounds, or else the nearest.

    Nearest is: the same minor version, its newest patch; else the next higher
    minor; else the highest lower one. Another major version is never taken.
    """
    if not have:
        raise NoInterpreter("No Python was found on this machine.")
    fitting = [(v, p) for v, p in have if packages.admits(bounds, v)]
    if fitting:
        version, path = max(fitting)
        return version, path, None
    text = ",".join(op.replace("==", "=") + v for op, v in bounds)
    wanted = packages.numbers(bounds[0][1])
    same_major = [(v, p) for v, p in have if v[:1] == wanted[:1]]
    if not same_major:
        raise NoInterpreter("python%s was asked for, and no Python %s is on this machine (there are %s)."
                            % (text, wanted[0] if wanted else "?", ", ".join(dotted(v) for v, _ in have)))
    same_minor = [(v, p) for v, p in same_major if v[:2] == wanted[:2]]
    higher = [(v, p) for v, p in same_major if v[:2] > wanted[:2]]
    if same_minor:
        version, path = max(same_minor)
    elif higher:
        lowest = min(higher)[0][:2]
        version, path = max((v, p) for v, p in higher if v[:2] == lowest)
    else:
        version, path = max(same_major)
    return version, path, "python%s is not to be had here: using %s" % (text, dotted(version))


def dotted(version):
    return ".".join(str(n) for n in version)

"""From conda's names and version syntax to pip's."""
import re

# Conda names whose PyPI name differs; None: libraries that packages from PyPI
# bring along themselves. All other names are taken to be the same on both.
NAMES = {
    "blas": None,
    "dask-core": "dask",
    "faiss": "faiss-cpu",
    "keras-gpu": "keras",
    "keras-preprocessing": "Keras-Preprocessing",
    "libxgboost": None,
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "mkl": None,
    "mkl-service": None,
    "mkl_fft": None,
    "mkl_random": None,
    "nomkl": None,
    "numpy-base": "numpy",
    "opencv": "opencv-python",
    "pandas-base": "pandas",
    "pillow": "Pillow",
    "psycopg2": "psycopg2-binary",
    "py-lightgbm": "lightgbm",
    "py-opencv": "opencv-python",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "pyqt": "PyQt5",
    "pytables": "tables",
    "python-graphviz": "graphviz",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pyyaml": "PyYAML",
    "ruamel_yaml": "ruamel.yaml",
    "tensorflow-base": "tensorflow",
    "tensorflow-mkl": "tensorflow",
    "torchvision-cpu": "torchvision",
}

# Names that mean the processor's build of the same package where there is no GPU.
GPU_NAMES = {"tensorflow-gpu": "tensorflow"}

_SPEC = re.compile(r"^\s*(?:(?P<channel>[\w./:-]+)::)?(?P<name>[A-Za-z0-9_.-]+)\s*(?P<rest>.*?)\s*$")


def canonical(name):
    """A PyPI name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def name_of(requirement):
    """The canonical name in a requirement of pip's."""
    return canonical(re.split(r"[\s\[;=<>!~@]", requirement.strip(), 1)[0])


# What pip says of a requirement none of whose versions it finds.
_MISSED = re.compile(r"Could not find a version that satisfies the requirement (\S+)(?: .*?\(from versions: ([^)]*)\))?")


def missed(said):
    """(requirement, versions that there are) of the first that pip missed; versions is None where it does not tell them."""
    match = _MISSED.search(said)
    if not match:
        return None, None
    if match.group(2) is None:
        return match.group(1), None
    return match.group(1), [v for v in re.split(r",\s*", match.group(2)) if re.match(r"^\d[\d.]*$", v)]


def nearest(requirement, versions):
    """The requirement with the version after its own, else the last before it; None if it is not of one version, or there is none."""
    name, _, wanted = requirement.partition("==")
    if not wanted or not versions:
        return None
    after = [v for v in versions if numbers(v) > numbers(wanted)]
    return name + "==" + (after[0] if after else versions[-1])


class BadSpec(Exception):
    """A dependency that is not a conda match specification."""


class Spec(object):
    """One conda dependency: name, and a list of (operator, version) that all must hold."""

    def __init__(self, text):
        match = _SPEC.match(text)
        if not match or not match.group("name"):
            raise BadSpec("'%s' is not a conda package specification." % text)
        self.text = text
        self.channel = match.group("channel")
        self.name = match.group("name").lower()
        self.bounds = parse_bounds(match.group("rest"), text)


def parse_bounds(rest, text):
    """conda's version part: '=1.15', '==1.15.4', '>=1,<2', ' 1.15.*', '=1.15=py36_0'."""
    rest = rest.strip()
    if not rest or rest == "*":
        return []
    bracket = re.match(r"^\[version=['\"]?([^'\"\]]+)['\"]?\]$", rest)
    if bracket:
        rest = bracket.group(1)
    exact = re.match(r"^={1,2}\s*([^=<>!,|\s]+)(?:=[\w.]+)?$", rest)
    if exact:
        version = exact.group(1)
        if rest.startswith("==") or "=" in rest.lstrip("="):
            return [("==", version)]
        return [("=", version)]
    if re.match(r"^[0-9][\w.*]*(\s+[\w.]+)?$", rest):
        return [("==", rest.split()[0])] if "*" not in rest.split()[0] else [("=", rest.split()[0])]
    bounds = []
    for part in rest.split(","):
        match = re.match(r"^\s*(>=|<=|==|!=|~=|=|>|<)\s*([\w.*+!-]+)\s*$", part)
        if not match:
            raise BadSpec("'%s' is not a conda package specification." % text)
        bounds.append((match.group(1), match.group(2)))
    return bounds


def to_pip(spec, has_gpu):
    """(requirement for pip or None, what to say of it or None)."""
    name, said = spec.name, None
    if name in GPU_NAMES and not has_gpu:
        name = GPU_NAMES[name]
        said = "%s: no NVIDIA GPU is on this machine; installing %s" % (spec.name, name)
    elif name in NAMES:
        mapped = NAMES[name]
        if mapped is None:
            return None, "%s: what comes from PyPI brings its own; left out" % spec.name
        if mapped.lower() != name:
            said = "conda package %s is %s on PyPI" % (spec.name, mapped)
        name = mapped
    return name + ",".join(pip_bound(op, version) for op, version in spec.bounds), said


def of_processor(line):
    """A pip requirement for a machine without a GPU, and what to say of it or None."""
    match = re.match(r"^\s*([A-Za-z0-9_.-]+)(.*)$", line)
    name = GPU_NAMES.get(canonical(match.group(1))) if match else None
    if not name:
        return line, None
    return name + match.group(2), "%s: no NVIDIA GPU is on this machine; installing %s" % (match.group(1), name)


def pip_bound(op, version):
    """conda's '=1.15' means any 1.15; pip says '==1.15.*'."""
    if op == "=":
        return "==" + (version if version.endswith("*") else version + ".*")
    return op + version


def numbers(version):
    """(3, 6, 2) of '3.6.2'; a wildcard or a suffix ends it."""
    out = []
    for part in version.split("."):
        match = re.match(r"^\d+", part)
        if not match:
            break
        out.append(int(match.group(0)))
    return tuple(out)


def of_2018(lines):
    """Whether azureml is among pip's lines, and always without a version."""
    azureml = [line for line in lines if line.lower().startswith("azureml-")]
    return bool(azureml) and not any(re.search(r"[=<>!~@]", line) for line in azureml)


def admits(bounds, version):
    """Whether a version, as a tuple of numbers, satisfies all bounds."""
    return all(_holds(op, numbers(wanted), wanted, version) for op, wanted in bounds)


def _holds(op, wanted, text, version):
    head = version[:len(wanted)]
    if op in ("=", "~=") or text.endswith("*"):
        if op == "!=":
            return head != wanted
        return head == wanted if op != "~=" else head[:-1] == wanted[:-1] and version >= wanted
    padded = version + (0,) * (len(wanted) - len(version))
    wanted = wanted + (0,) * (len(version) - len(wanted))
    return {"==": padded == wanted, "!=": padded != wanted, ">=": padded >= wanted,
            "<=": padded <= wanted, ">": padded > wanted, "<": padded < wanted}[op]

"""What gunicorn loads: azureml.core.model where the environment has none, then the application."""
import importlib.util
import os
import sys

import scoring

HERE = os.path.dirname(os.path.abspath(__file__))
# The kit's own modules are not the script's: names such as "job" are the user's to take.
sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != HERE]


def model_of_azureml():
    """Scripts find their models by azureml.core.model; a stand-in serves those whose environment lacks it."""
    try:
        if importlib.util.find_spec("azureml.core") is not None:
            return
    except (ImportError, AttributeError, ValueError):
        pass
    stand_in = os.path.join(HERE, "stand_in")
    if "azureml" in sys.modules:
        sys.modules["azureml"].__path__.append(os.path.join(stand_in, "azureml"))
    else:
        sys.path.append(stand_in)


def application():
    sys.path.insert(0, os.environ["AML_APP_ROOT"])
    model_of_azureml()
    return scoring.create()

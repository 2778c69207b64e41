"""Model.get_model_path, for images whose environment has no azureml-core."""
import os

MODELS = "azureml-models"


class ModelNotFoundException(Exception):
    """No such model is in the image."""


class Model(object):
    """Only what a scoring script asks for: where its model is."""

    @staticmethod
    def get_model_path(model_name, version=None, _workspace=None):
        """The path of the model's one file or folder: of the version, or of the highest that the image has."""
        if model_name is None:
            raise ValueError("model_name is None")
        if version is not None and not isinstance(version, int):
            raise Exception("version should be an int")
        versions = os.path.join(MODELS, model_name)
        if os.path.isdir(versions):
            numbers = [int(v) for v in os.listdir(versions) if v.isdigit()]
            number = version if version is not None else max(numbers)
            folder = os.path.join(versions, str(number))
            if os.path.isdir(folder):
                found = os.listdir(folder)
                if len(found) != 1:
                    raise Exception("Dir %s can contain only 1 file or folder. Found %s" % (folder, found))
                return os.path.join(folder, found[0])
        if os.path.exists(model_name):
            return model_name
        raise ModelNotFoundException("Model not found in cache or in root at ./%s." % model_name)

"""The namespace of the azureml packages."""
__path__ = __import__("pkgutil").extend_path(__path__, __name__)

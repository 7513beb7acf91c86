"""Train, evaluate, apply and inspect multimodal embedding models from one YAML file."""

__version__ = "0.1.0"

"""herd: the Llama 3 recipe as one piece of software, from raw pages to a chat model and a report."""

__version__ = "0.1.0"

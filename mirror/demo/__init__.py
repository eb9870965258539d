"""An archive of its own: a small publisher and a web server that behave like upstream.

The `demo` command and the tests run on it. Nothing here imports the rest of `mirror`.
"""

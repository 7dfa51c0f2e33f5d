"""Says what a machine has, with nothing but the standard library: it is sent to Dask workers as text.

A worker without this package can run it too, and say that it has none.
"""


def probe(packages):  # type: ignore[no-untyped-def]
    """What is installed: host, Python, this package's version or why it cannot be imported, versions of packages.

    Args:
        packages: names of distributions.
    """
    import platform
    import socket
    from importlib import import_module, metadata

    versions: dict = {}  # type: ignore[type-arg]
    said = {"host": socket.gethostname(), "python": platform.python_version(), "problem": "", "versions": versions}
    try:
        said["version"] = import_module("archon_eval").__version__
        import_module("archon_eval.runs.dask_worker")
    except Exception as exc:  # noqa: BLE001 (a broken package is as good as none)
        said["problem"] = "archon-eval cannot be imported there (" + type(exc).__name__ + ": " + str(exc) + ")"
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = ""
    return said

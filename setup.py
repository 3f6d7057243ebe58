"""Build the compiled module; vpopmail_ext/_build.py says what it is linked with."""

import runpy

from setuptools import setup

# Run by its path: the package itself can't be imported before the module is there.
_build = runpy.run_path("vpopmail_ext/_build.py")

setup(
    cffi_modules=["vpopmail_ext/_build.py:ffibuilder"],
    cmdclass={"build_ext": _build["BuildExt"]},
)

"""Build the compiled module; linking/ says what it is linked with."""

import os
import sys

from setuptools import setup

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from linking.extension import BdistWheel, BuildExt

setup(
    cffi_modules=["linking/extension.py:ffibuilder"],
    cmdclass={"build_ext": BuildExt, "bdist_wheel": BdistWheel},
)

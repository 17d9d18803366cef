"""The kernels of `herd/corpus/native` in plain Python, for machines that have neither a wheel with compiled ones nor a
compiler. They give the same results, `tests/corpus/plain` holds that, in about a hundred times the time; file by file
they are written as the C++ is, so that a change there is easily followed here."""

"""The parts of a model package, and the program that imports one."""

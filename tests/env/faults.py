"""faults.c, a preloaded library by which calls fail or take time."""

import pathlib


class Faults:
    def __init__(self, so, directory):
        self.so = so
        self.dir = pathlib.Path(directory)
        self.dir.mkdir()
        self.env = {"LB_FAULT_DIR": str(self.dir)}

    def set(self, name, value):
        temp = self.dir / (name + ".new")
        temp.write_text(str(value))
        temp.rename(self.dir / name)

    def clear(self, name):
        (self.dir / name).unlink()

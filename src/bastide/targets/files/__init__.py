"""Files as connected systems: objects are read from one, and salted hashes of passwords are written to another of the same format.

One file per format; imports.py and exports.py are for all of them, storage.py is the file system.
"""

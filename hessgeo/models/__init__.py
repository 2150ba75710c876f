"""The embedded models: trained from scratch on the handwritten digits that ship with scikit-learn.

Each is saved in the format of the library whose class it is, so that any other checkpoint goes through the
same loading code.
"""

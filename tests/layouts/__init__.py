"""Databases of older layouts, as the code of their time made them, each with what that code said of it."""

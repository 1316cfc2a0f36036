"""Exercises in the form of Test My Code: a folder of programs, and tests that give points.

An exercise becomes one notebook, whose tests ask the student's modules in the pupil's box. So what
is known of notebooks' tests holds for these, and no file or word of a student's says a result.
"""

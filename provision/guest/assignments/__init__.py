"""Assignments of courses, in nbgrader's format or read into it: handed out, graded, returned.

A notebook's cells run in a box, the pupil's, and the tests in another, the examiner's, with nothing
of the student's. Both are forked in a third, whose language was begun once. A test asks the
pupil for values and calls its functions; only plain values come across, and the examiner compares
them. So a student's code never sees a test's text, and cannot decide what it says.
"""

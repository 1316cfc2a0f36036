"""Assignments of courses, in nbgrader's format or read into it: handed out, graded, returned.

Of one notebook two boxes are made. In the pupil's box its cells run; in the examiner's the tests,
and nothing of the student's. A test asks the pupil for values and calls its functions; only plain
values come across, and the examiner compares them. So a student's code never sees a test's text,
and cannot decide what it says.
"""

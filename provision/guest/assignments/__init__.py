"""Assignments of courses, in nbgrader's format or read into it: handed out, graded, returned.

Of one notebook a box is made, the pupil's, in which its cells run. The tests run in another, the
examiner's, in a process of each notebook's own and with nothing of the student's. A test asks the
pupil for values and calls its functions; only plain values come across, and the examiner compares
them. So a student's code never sees a test's text, and cannot decide what it says.
"""

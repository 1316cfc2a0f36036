"""otter-grader's form of an assignment, read into nbgrader's.

What raw cells of a master notebook say becomes the metadata of cells: one test for each question,
which gives as many points as otter gives. So whatever is known of nbgrader's holds for it, too.
"""

"""Jobe's interface beside the grader's own, so that Moodle's CodeRunner asks this sandbox."""

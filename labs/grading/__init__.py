"""Grading: many submissions of one lab, each in a sandbox of its own.

    PATH… ──submissions──> one Submission a student ──jobs──> a worker process each: own lab, run_checks ──> Report
                             (archives.unpack)                      | lines, as results come
                                                                    v
                                                 book: grades.json, grades.csv, STUDENT/results.json

submissions  who handed in what        archives  zip and tar, unpacked without belief in what they say
worker       one submission, graded    jobs      several workers at once, each held to its time
formats      Gradescope, CSV, table    book      the results on disk, whole at any moment
"""

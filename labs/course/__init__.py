"""The course: what a lab is made of, what students get, and how they walk through it.

    labs/06-cluster-ip/lab.toml ──definition──> LabDefinition
    netfns/service.py ──starter──> the file with the functions to write blanked
    wrong/*.py ──wrong──> whole files that a check must catch

definition   lab.toml, read and checked              starter      blanking, and putting functions into a file
wrong        the wrong answers of a lab               progress     what a student has done so far
desk         the student's working folder            handout      what students are given
"""

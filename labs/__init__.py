"""Labs and the `minipod` command: where everything comes together.

cli            the commands                       check/         the main job: claims proven by packets
launch         `up`: from a cluster file to Ready lab            a running lab, as commands and tests hold it
supervisor     the lab's first process            cluster        what it runs: underlay, control plane, agents
control        what it is asked from the host     guardian       puts back what was killed
cluster_file   the cluster file                   state          the lab's folder on the host
course/        what a lab is made of              checking/      pytest as the checks' language
NN-name/       the labs themselves
"""

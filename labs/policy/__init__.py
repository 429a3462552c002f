"""What NetworkPolicies do in a running lab: predicted by `evaluate`, measured by packets, watched as they are denied.

scene.py    who is there: pods, nodes, policies, services; what `pod/a` and `service/web:80` mean
measure.py  packets that are sent, and devices at which they arrive or do not
why.py      one question: the verdict, its reasons, and the packet that confirms it
matrix.py   all pods with all pods; drawing.py: as a table, as a picture
watch.py    denied packets, with the policies that denied them
"""

"""The main job: the four communication types, each claim proven by packets of its own.

    claim         what a claim is, and what it answers        pods          pod-to-pod
    subjects      who in a namespace can bear witness         services      pod-to-service
    ground        a namespace of our own to walk on           external      external-to-service
    containers    container-to-container                      ipv6          the same in the second family
    report        the table, the stories, the JSON

Nothing here believes an application's word where a packet can be had: who answered is counted at the endpoints' own
devices, who asked is read from the frames that arrive.
"""

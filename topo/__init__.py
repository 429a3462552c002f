"""The hardware of a lab: everything that a data centre would deliver on pallets, made of kernel namespaces.

    sandbox      fresh namespaces around the whole lab; its first process is the lab's supervisor
    rootfs       the file trees that the sandbox and each container see
    plan         names and addresses, the same in every lab, page and test
    underlay     Mininet builds the switches, the router and the machines
    machine      one Mininet host: a node, a load balancer, a VM; how commands are run on it
    runtime      the supervisor's end of what makes pods and containers: starts it, asks it, reaps
    pod_runtime  makes pods: namespaces, wiring, and the process that holds both
    container_runtime   makes containers: builds their roots, starts them, writes their logs
    native       a process of libc's calls, without an interpreter; native_container: a container started so
    forker       forks stand-ins out of one warm process
    container    a stand-in's first process, from its fork to its function
    serving      the loop of these processes; home: their way back from others' namespaces
    stdio        a container's input and outputs; container_log: what becomes of the outputs
    enter        runs a command inside anybody's namespaces
    netlink      `ip -batch` text, compiled to netlink messages and sent in process
    nft          `nft -f` text, loaded in process; nfnetlink, nfrules: its commonest commands as netlink messages
    capture      packets as they pass a device
    probe        sends a real packet and tells what happened

Nothing here knows what a Service or a Deployment is, and nothing here imports `netfns` or `controlplane`.
"""

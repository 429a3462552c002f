/* The least that the kernel takes to plug N pods into bridges: the same objects as netfns/bridge.py makes, from C.
 *
 *   for each pod: unshare(CLONE_NEWNET)               its network namespace, held by a descriptor
 *                 RTM_NEWLINK on the node's socket    veth pair of one queue: near end up, a port of cni0; far end in the pod: eth0
 *                 RTM_SETLINK on the node's socket    hairpin, alias
 *                 one batch on the pod's own socket   lo up; eth0 without link-local address, up; address; default route
 *
 * usage: floor PODS NODES    prints the seconds that the pods took; must run in namespaces of its own.
 * Sources: rtnetlink(7), netlink(7), linux/if_link.h, linux/veth.h.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct batch { char bytes[4096]; int length, messages; struct nlmsghdr *last; };
struct node { int socket, bridge; };

static void fail(const char *what) { perror(what); exit(1); }

static void *put(struct batch *b, const void *data, int length)
{
    char *place = b->bytes + b->length;
    memset(place, 0, NLMSG_ALIGN(length));
    memcpy(place, data, length);
    b->length += NLMSG_ALIGN(length);
    if (b->last)
        b->last->nlmsg_len = b->bytes + b->length - (char *)b->last;
    return place;
}

static void message(struct batch *b, int type, int flags, const void *header, int length)
{
    struct nlmsghdr h = { .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags };
    b->last = NULL;
    b->last = put(b, &h, sizeof h);
    b->messages++;
    put(b, header, length);
}

static struct rtattr *attribute(struct batch *b, int type, const void *data, int length)
{
    struct rtattr a = { .rta_len = RTA_LENGTH(length), .rta_type = type };
    struct rtattr *place = put(b, &a, sizeof a);
    if (length)
        put(b, data, length);
    return place;
}

static void close_nest(struct batch *b, struct rtattr *nest)
{
    nest->rta_len = b->bytes + b->length - (char *)nest;
}

static void send_batch(int fd, struct batch *b)
{
    char answer[8192];
    if (send(fd, b->bytes, b->length, 0) < 0)
        fail("send");
    while (b->messages > 0) {
        int length = recv(fd, answer, sizeof answer, 0);
        for (struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, length); h = NLMSG_NEXT(h, length)) {
            struct nlmsgerr *error = NLMSG_DATA(h);
            if (h->nlmsg_type == NLMSG_ERROR) {
                errno = -error->error;
                if (errno)
                    fail("netlink");
                b->messages--;
            }
        }
    }
}

static int netlink(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        fail("socket");
    return fd;
}

static void link_up(struct batch *b, int index)
{
    struct ifinfomsg up = { .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
    message(b, RTM_NEWLINK, 0, &up, sizeof up);
}

static void address(struct batch *b, int index, in_addr_t ip)
{
    struct ifaddrmsg a = { .ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = index };
    message(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &a, sizeof a);
    attribute(b, IFA_LOCAL, &ip, 4);
    attribute(b, IFA_ADDRESS, &ip, 4);
}

static struct node make_node(int number)
{
    struct node node;
    struct batch b = { .length = 0 };
    struct ifinfomsg none = { 0 };
    if (unshare(CLONE_NEWNET))
        fail("unshare");
    /* ports need no link-local addresses: the setting of netfns/bridge.py */
    int setting = open("/proc/sys/net/ipv6/conf/default/addr_gen_mode", O_WRONLY | O_CLOEXEC);
    if (setting < 0 || write(setting, "1", 1) != 1)
        fail("addr_gen_mode");
    close(setting);
    node.socket = netlink();
    message(&b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &none, sizeof none);
    attribute(&b, IFLA_IFNAME, "cni0", 5);
    struct rtattr *info = attribute(&b, IFLA_LINKINFO, NULL, 0);
    attribute(&b, IFLA_INFO_KIND, "bridge", 6);
    close_nest(&b, info);
    send_batch(node.socket, &b);
    node.bridge = if_nametoindex("cni0");
    b = (struct batch){ .length = 0 };
    link_up(&b, node.bridge);
    address(&b, node.bridge, htonl(0x0af40001 | number << 8));
    send_batch(node.socket, &b);
    return node;
}

static void make_pair(struct node *node, int number, int namespace)
{
    struct batch b = { .length = 0 };
    struct ifinfomsg near_end = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP }, far_end = { 0 };
    char name[16], alias[32];
    unsigned mtu = 1450, queues = 1;
    int length = 1 + snprintf(name, sizeof name, "veth%08x", number);
    message(&b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &near_end, sizeof near_end);
    attribute(&b, IFLA_IFNAME, name, length);
    attribute(&b, IFLA_MTU, &mtu, 4);
    attribute(&b, IFLA_NUM_TX_QUEUES, &queues, 4);
    attribute(&b, IFLA_NUM_RX_QUEUES, &queues, 4);
    attribute(&b, IFLA_MASTER, &node->bridge, 4);
    struct rtattr *info = attribute(&b, IFLA_LINKINFO, NULL, 0);
    attribute(&b, IFLA_INFO_KIND, "veth", 4);
    struct rtattr *data = attribute(&b, IFLA_INFO_DATA, NULL, 0);
    struct rtattr *peer = attribute(&b, VETH_INFO_PEER, NULL, 0);
    put(&b, &far_end, sizeof far_end);
    attribute(&b, IFLA_IFNAME, "eth0", 5);
    attribute(&b, IFLA_MTU, &mtu, 4);
    attribute(&b, IFLA_NUM_TX_QUEUES, &queues, 4);
    attribute(&b, IFLA_NUM_RX_QUEUES, &queues, 4);
    attribute(&b, IFLA_NET_NS_FD, &namespace, 4);
    close_nest(&b, peer);
    close_nest(&b, data);
    close_nest(&b, info);
    struct ifinfomsg by_name = { 0 };
    message(&b, RTM_NEWLINK, 0, &by_name, sizeof by_name);
    attribute(&b, IFLA_IFNAME, name, length);
    length = snprintf(alias, sizeof alias, "default/pod-%d", number);
    attribute(&b, IFLA_IFALIAS, alias, length);
    info = attribute(&b, IFLA_LINKINFO, NULL, 0);
    attribute(&b, IFLA_INFO_SLAVE_KIND, "bridge", 6);
    data = attribute(&b, IFLA_INFO_SLAVE_DATA, NULL, 0);
    attribute(&b, IFLA_BRPORT_MODE, "\1", 1);
    close_nest(&b, data);
    close_nest(&b, info);
    send_batch(node->socket, &b);
}

static void configure(int fd, int index, int node, int host)
{
    struct batch b = { .length = 0 };
    struct ifinfomsg link = { .ifi_index = index };
    unsigned char mode = IN6_ADDR_GEN_MODE_NONE;
    in_addr_t gateway = htonl(0x0af40001 | node << 8);
    struct rtmsg route = { .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
                           .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST };
    link_up(&b, 1);
    message(&b, RTM_NEWLINK, 0, &link, sizeof link);
    struct rtattr *families = attribute(&b, IFLA_AF_SPEC, NULL, 0);
    struct rtattr *ipv6 = attribute(&b, AF_INET6, NULL, 0);
    attribute(&b, IFLA_INET6_ADDR_GEN_MODE, &mode, 1);
    close_nest(&b, ipv6);
    close_nest(&b, families);
    link_up(&b, index);
    address(&b, index, htonl(0x0af40000 | node << 8 | host));
    message(&b, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route, sizeof route);
    attribute(&b, RTA_GATEWAY, &gateway, 4);
    attribute(&b, RTA_OIF, &index, 4);
    send_batch(fd, &b);
}

static void make_pod(struct node *node, int node_number, int number, int host)
{
    if (unshare(CLONE_NEWNET))
        fail("unshare");
    int namespace = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), fd = netlink();
    make_pair(node, number, namespace);
    configure(fd, if_nametoindex("eth0"), node_number, host);
    close(fd); /* the descriptor `namespace` stays open and keeps the pod's network */
}

int main(int argc, char **argv)
{
    int pods = argc > 1 ? atoi(argv[1]) : 50, nodes = argc > 2 ? atoi(argv[2]) : 10;
    struct node table[nodes];
    struct timespec begun, ended;
    for (int n = 0; n < nodes; n++)
        table[n] = make_node(n);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (int n = 0; n < pods; n++)
        make_pod(&table[n % nodes], n % nodes, n, n / nodes + 2);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.6f\n", ended.tv_sec - begun.tv_sec + (ended.tv_nsec - begun.tv_nsec) / 1e9);
    return 0;
}

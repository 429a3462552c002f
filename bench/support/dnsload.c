/* Asks a DNS server at 127.0.0.1 as fast as it answers: WINDOW questions are always on their way.
 *
 *   dnsload PORT SECONDS WINDOW < questions     each question: its length (two bytes), its bytes
 *
 * SECONDS 0: until every question was asked once.
 *
 * Prints: answers, answers with an error (neither NOERROR nor NXDOMAIN), questions lost, seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

enum { MOST = 200000, LONGEST = 512, BATCH = 64, BUFFER = 2048 };

static unsigned char questions[MOST][LONGEST];
static unsigned short lengths[MOST];
static int count;
static unsigned long turn;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void send_next(int s, int number)
{
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	memset(messages, 0, sizeof messages);
	for (int i = 0; i < number; i++) {
		unsigned long at = turn++ % count;
		questions[at][0] = turn >> 8;
		questions[at][1] = turn;
		parts[i] = (struct iovec){questions[at], lengths[at]};
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	for (int sent = 0; sent < number;) {
		int n = sendmmsg(s, messages + sent, number - sent, 0);
		if (n < 0) { perror("sendmmsg"); exit(1); }
		sent += n;
	}
}

int main(int argc, char **argv)
{
	if (argc != 4) { fprintf(stderr, "dnsload PORT SECONDS WINDOW\n"); return 2; }
	unsigned char length[2];
	while (count < MOST && fread(length, 1, 2, stdin) == 2) {
		lengths[count] = length[0] << 8 | length[1];
		if (lengths[count] > LONGEST || fread(questions[count], 1, lengths[count], stdin) != lengths[count]) return 2;
		count++;
	}
	if (!count) return 2;
	int window = atoi(argv[3]), s = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
	struct timeval patience = {0, 200000};
	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (window < 1 || window > BATCH || connect(s, (void *)&to, sizeof to)) { perror("connect"); return 1; }

	static unsigned char buffers[BATCH][BUFFER];
	struct mmsghdr got[BATCH];
	struct iovec parts[BATCH];
	unsigned long answers = 0, errors = 0, lost = 0;
	double begun = now(), seconds = atof(argv[2]);
	send_next(s, window);
	while (seconds ? now() < begun + seconds : turn < (unsigned long)count) {
		memset(got, 0, sizeof got);
		for (int i = 0; i < window; i++) {
			parts[i] = (struct iovec){buffers[i], BUFFER};
			got[i].msg_hdr.msg_iov = &parts[i];
			got[i].msg_hdr.msg_iovlen = 1;
		}
		int n = recvmmsg(s, got, window, MSG_WAITFORONE, NULL);
		if (n < 1) { lost += window; n = window; } else {
			answers += n;
			for (int i = 0; i < n; i++) {
				int code = buffers[i][3] & 15;
				errors += code != 0 && code != 3;
			}
		}
		send_next(s, n);
	}
	printf("%lu %lu %lu %f\n", answers, errors, lost, now() - begun);
	return 0;
}

/* fast_path_receive over any bytes as a burst of one frame, for flows that are there: no buffer
 * holds more than it can, and what is handed back has left no trace. The first byte of the input
 * holds the frame's flags, the next two the size of its segments. Sequence numbers of the TCB are
 * those of the seeds. */

#include "ustack/fast_path.h"
#include "fuzz.h"

enum {
    PREFIX = 3,
    INTERFACE = 1,
    PORT = 80,
    REMOTE_PORT = 1234,
    TCP = 6,
    UDP = 17,
    RECEIVE_BUFFER = 4096,
};

static const uint8_t LOCAL[16] = {10, 9, 0, 2};
static const uint8_t REMOTE[16] = {10, 9, 0, 1};
static const uint8_t LOCAL6[16] = {0xFD, [15] = 2};
static const uint8_t REMOTE6[16] = {0xFD, [15] = 1};

static struct tcb *established(void)
{
    struct tcb *tcb = tcb_new();
    struct sent_segment segment = {.seq = 700, .end = 800, .xmit_ns = 1, .mss = 100};
    uint8_t data[100] = {0};

    require(tcb != NULL && ring_reserve(&tcb->rcv_ring, RECEIVE_BUFFER, 0) == 0 &&
                ring_reserve(&tcb->snd_ring, sizeof data, 0) == 0,
            "memory for a connection");
    tcb->state = TCP_ESTABLISHED;
    tcb->rcv_nxt = 100;
    tcb->last_ack_sent = 100;
    tcb->rcv_wnd = RECEIVE_BUFFER;
    tcb->rcv_mss = 536;
    tcb->rcv_buffer = 2 * RECEIVE_BUFFER;
    tcb->rcv_scaling_ratio = 128;
    tcb->snd_una = 700;
    tcb->snd_ring_seq = 700;
    tcb->snd_nxt = 800;
    tcb->snd_wnd = 1000;
    tcb->snd_wscale = 14;
    tcb->interface = INTERFACE;
    ring_write(&tcb->snd_ring, data, sizeof data);
    require(sent_queue_push(&tcb->sent, &segment) == 0, "memory for a sent segment");
    return tcb;
}

static void add_flow(struct flow_table *flows, uint8_t version, uint8_t protocol, void *target)
{
    struct flow_key key;

    flow_key_fill(&key, protocol, version, version == 4 ? LOCAL : LOCAL6, PORT,
                  version == 4 ? REMOTE : REMOTE6, REMOTE_PORT);
    require(flow_table_insert(flows, &key, protocol == TCP ? FLOW_TCP : FLOW_UDP, protocol,
                              target) == 0,
            "memory for a flow");
}

static struct burst *one_frame(const uint8_t *data, size_t size)
{
    struct burst *burst = burst_new(0);
    struct frame *frame;

    require(burst != NULL && burst_append(burst, data + PREFIX, (uint32_t)(size - PREFIX)) == 0,
            "memory for a burst");
    frame = &burst->frames[0];
    frame->flags = data[0] & 3;
    frame->gso_size = (uint16_t)(data[1] << 8 | data[2]);
    frame->gso_type = frame->gso_size > 0 ? GSO_TCPV4 : GSO_NONE;
    return burst;
}

static void check(const struct tcb *tcb, const struct tcb *before, const struct fast_path *path,
                  uint32_t taken)
{
    require(taken <= 1, "no frame is taken that is not there");
    require(path->touched_count <= taken, "a taken frame touches at most one endpoint");
    require(tcb->rcv_ring.length <= tcb->rcv_ring.capacity, "the receive ring holds its length");
    require(tcb->rcv_nxt - before->rcv_nxt == tcb->rcv_ring.length, "RCV.NXT counts what is held");
    require(tcb->snd_una - before->snd_una <= 100, "SND.UNA is never beyond SND.NXT");
    require(taken == 1 || memcmp(tcb, before, sizeof *tcb) == 0,
            "nothing is written for what is handed back");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fast_path *path;
    struct tcb *tcb;
    struct tcb before;
    struct burst *burst;
    struct datagram_queue queue = {.limit = RECEIVE_BUFFER, .handle = UDP};

    if (size < PREFIX) {
        return 0;
    }
    path = calloc(1, sizeof *path);
    require(path != NULL, "memory for the fast path");
    path->flows = flow_table_new(LOCAL6);
    require(path->flows != NULL, "memory for the flows");
    tcb = established();
    for (uint8_t version = 4; version <= 6; version = (uint8_t)(version + 2)) {
        add_flow(path->flows, version, TCP, tcb);
        add_flow(path->flows, version, UDP, &queue);
    }
    burst = one_frame(data, size);
    before = *tcb;
    check(tcb, &before, path, fast_path_receive(path, burst, 0, INTERFACE, 5));
    burst_free(burst);
    tcb_free(tcb);
    datagram_queue_release(&queue);
    flow_table_free(path->flows);
    free(path);
    return 0;
}

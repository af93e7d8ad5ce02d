#include "ustack/fast_path.h"

#include <string.h>

#include "receive.h"
#include "ustack/packet.h"

/* The fast path takes in-order data and ordinary acknowledgments of established connections, and
 * datagrams of known flows. It does what tcp/arrival_synchronized.py and tcp/acknowledgment.py
 * would do, step by step, or nothing at all. */

enum {
    FLAG_PSH = 0x08,
    FLAG_ACK = 0x10,
};

static int seq_lt(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static int seq_le(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) <= 0;
}

static int touch(struct fast_path *path, uint32_t handle)
{
    if (path->touched_count >= TOUCHED_MAX) {
        return 0;
    }
    path->touched[path->touched_count++] = handle;
    return 1;
}

static int room_to_touch(const struct fast_path *path)
{
    return path->touched_count < TOUCHED_MAX;
}

/* What the timestamps say: RFC 7323 §3.2 and §5.3. An outdated TS.Recent is for Python. */
static int timestamps_are_ordinary(const struct tcb *tcb, const struct packet *packet)
{
    if (!tcb->timestamps) {
        return !packet->has_timestamps;
    }
    return packet->has_timestamps && !seq_lt(packet->ts_value, tcb->ts_recent);
}

/* Whether another window may let data leave that wait for it with nothing in flight. */
static int window_lets_go(const struct tcb *tcb, const struct packet *packet)
{
    return tcb->sent.count == 0 && tcb->snd_ring.length > 0 &&
           (uint32_t)packet->window << tcb->snd_wscale != tcb->snd_wnd;
}

/* The acknowledgment: new, or a repetition that comes with data. Anything that could be a duplicate
 * ACK is for Python. */
static int ack_is_ordinary(const struct tcb *tcb, const struct packet *packet)
{
    if (seq_lt(packet->ack, tcb->snd_una) || seq_lt(tcb->snd_nxt, packet->ack)) {
        return 0;
    }
    if (packet->ack == tcb->snd_una && packet->payload_length == 0) {
        return 0;
    }
    if (window_lets_go(tcb, packet)) {
        return 0;
    }
    return ((uint32_t)packet->window << tcb->snd_wscale) != 0;
}

/* The acknowledgment of our FIN changes the state, but in FIN-WAIT-2 it is an old one. */
static int state_stays(const struct tcb *tcb, const struct packet *packet)
{
    return !tcb->fin_sent || packet->ack != tcb->snd_nxt || tcb->state == TCP_FIN_WAIT_2;
}

/* What only Python counts: congestion marks, what follows one, and data that are probably sent
 * again for not being ECN-capable as earlier ones were. */
static int ecn_is_ordinary(const struct tcb *tcb, const struct packet *packet)
{
    uint8_t codepoint = packet->traffic_class & ECN_CE;
    if (packet->payload_length > 0 && (tcb->ecn_flags & ECN_DEMAND_CWR) != 0) {
        return 0;
    }
    if (codepoint == NOT_ECT && packet->payload_length > 0) {
        return tcb->ecn_mode == ECN_NONE || (tcb->ecn_flags & ECN_SEEN) == 0;
    }
    return codepoint != ECN_CE;
}

static int is_ordinary(const struct tcb *tcb, const struct packet *packet)
{
    return tcb->slow_path_reasons == 0 && (packet->flags & ~FLAG_PSH) == FLAG_ACK &&
           packet->reserved == 0 && !packet->other_options && packet->seq == tcb->rcv_nxt &&
           ecn_is_ordinary(tcb, packet) && timestamps_are_ordinary(tcb, packet) &&
           ack_is_ordinary(tcb, packet) && state_stays(tcb, packet) &&
           (packet->payload_length == 0 || receive_is_ordinary(tcb, packet));
}

/* window.take_window */
static void take_window(struct tcb *tcb, const struct packet *packet)
{
    uint32_t window = (uint32_t)packet->window << tcb->snd_wscale;
    if (!seq_lt(tcb->snd_wl2, packet->ack) && !seq_lt(tcb->snd_wl1, packet->seq) &&
        !(tcb->snd_wl1 == packet->seq && window > tcb->snd_wnd)) {
        return;
    }
    tcb->snd_wnd = window;
    tcb->snd_wl1 = packet->seq;
    tcb->snd_wl2 = packet->ack;
    if (window > tcb->snd_max_wnd) {
        tcb->snd_max_wnd = window;
    }
}

/* arrival.count */
static void segment_count(struct tcb *tcb, const struct packet *packet)
{
    uint32_t length = packet->payload_length;
    uint32_t size = packet->gso_size;
    uint32_t segments = size > 0 && size < length ? (length + size - 1) / size : 1;

    tcb->received_traffic_class = packet->traffic_class;
    tcb->segments_received += segments;
    if (length > 0) {
        tcb->data_segments_received += segments;
    }
}

/* ecn.count_arrival */
static void count_codepoint(struct tcb *tcb, const struct packet *packet)
{
    uint8_t codepoint = packet->traffic_class & ECN_CE;
    tcb->ecn_last_received = codepoint;
    if (codepoint != NOT_ECT) {
        tcb->received_ecn_bytes[codepoint - 1] += packet->payload_length;
        if (tcb->ecn_mode != ECN_CLASSIC || packet->payload_length > 0) {
            tcb->ecn_flags |= ECN_SEEN;
        }
    }
}

static int take_segment(struct fast_path *path, struct tcb *tcb, const struct packet *packet,
                        uint8_t interface, uint64_t now_ns)
{
    if (tcb->interface != interface || !is_ordinary(tcb, packet) || !room_to_touch(path) ||
        receive_reserve(tcb, packet) < 0) {
        return 0;
    }
    if (!tcb->touched) {
        tcb->touched = 1;
        touch(path, tcb->handle);
    }
    segment_count(tcb, packet);
    if (packet->has_timestamps && seq_le(packet->seq, tcb->last_ack_sent)) {
        tcb->ts_recent = packet->ts_value;
        tcb->ts_recent_ns = now_ns;
    }
    tcb->last_received_ns = tcb->last_ack_received_ns = now_ns;
    tcb->probes_sent = 0;
    count_codepoint(tcb, packet);
    if (packet->ack != tcb->snd_una) {
        tcb_acknowledge(tcb, packet->ack, packet->has_timestamps, packet->ts_echo, now_ns);
    }
    take_window(tcb, packet);
    if (packet->has_timestamps) {
        receive_measure_echo(tcb, packet, now_ns);
    }
    if (packet->payload_length) {
        receive_data(tcb, packet, now_ns);
    }
    path->tcp_packets++;
    return 1;
}

static int take_datagram(struct fast_path *path, struct datagram_queue *queue,
                         const struct packet *packet, uint8_t interface)
{
    struct datagram datagram = {0};
    if (queue->slow_path_reasons || packet->gso_size || !room_to_touch(path)) {
        return 0;
    }
    memcpy(datagram.source, packet->source, packet->address_length);
    memcpy(datagram.destination, packet->destination, packet->address_length);
    datagram.source_port = packet->source_port;
    datagram.destination_port = packet->destination_port;
    datagram.version = packet->version;
    datagram.ttl = packet->ttl;
    datagram.traffic_class = packet->traffic_class;
    datagram.interface = interface;
    datagram.length = packet->payload_length;
    if (datagram_queue_push(queue, &datagram, packet->payload) == -2) {
        return 0;
    }
    if (!queue->touched) {
        queue->touched = 1;
        touch(path, queue->handle);
    }
    path->udp_packets++;
    return 1;
}

static int take_frame(struct fast_path *path, const struct burst *burst, uint32_t index,
                      uint8_t interface, uint64_t now_ns)
{
    const struct frame *frame = &burst->frames[index];
    struct packet packet;
    struct flow_key key;
    struct flow *flow;
    if (packet_describe(burst->data + frame->offset, frame->length, frame->flags, frame->gso_size,
                        &packet) != PACKET_OK) {
        return 0;
    }
    flow_key_fill(&key, packet.protocol, packet.version, packet.destination,
                  packet.destination_port, packet.source, packet.source_port);
    flow = flow_table_find(path->flows, &key);
    if (flow == NULL) {
        return 0;
    }
    if (flow->kind == FLOW_TCP) {
        return take_segment(path, flow->target, &packet, interface, now_ns);
    }
    if (flow->kind == FLOW_UDP) {
        return take_datagram(path, flow->target, &packet, interface);
    }
    return 0;
}

uint32_t fast_path_receive(struct fast_path *path, const struct burst *burst, uint32_t first,
                           uint8_t interface, uint64_t now_ns)
{
    uint32_t index = first;
    while (index < burst->count && take_frame(path, burst, index, interface, now_ns)) {
        index++;
    }
    if (index < burst->count) {
        path->handed_back++;
    }
    return index;
}

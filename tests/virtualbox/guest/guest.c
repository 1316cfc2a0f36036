/* The smallest guest that proves a port forward from end to end.
 *
 * It drives an Intel 82540EM (VirtualBox's default card), answers ARP for 10.0.2.15 (the address
 * that VirtualBox's NAT forwards to), greets every TCP connection on any port as an SSH server
 * would, echoes what it is sent, says on the serial port what happens, and powers off when the
 * ACPI button is pressed. There is no connection state: each answer follows from the packet.
 * Registers: Intel's 8254x manual; ACPI ports: VirtualBox's PIIX4, base 0x4000.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define GREETING "SSH-2.0-tiny\r\n"
#define FIRST_SEQUENCE 0x1000u
#define COM1 0x3f8
#define POWER_STATUS 0x4000
#define POWER_CONTROL 0x4004
#define POWER_BUTTON 0x100
#define POWER_OFF 0x3400
#define SMI_COMMAND 0x442e
#define ACPI_ENABLE 0xa1

static void out8(u16 port, u8 value) { asm volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static void out16(u16 port, u16 value) { asm volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static void out32(u16 port, u32 value) { asm volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static u8 in8(u16 port) { u8 value; asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port)); return value; }
static u16 in16(u16 port) { u16 value; asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port)); return value; }
static u32 in32(u16 port) { u32 value; asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port)); return value; }

void *memcpy(void *to, const void *from, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++)
        ((volatile u8 *)to)[i] = ((const u8 *)from)[i];
    return to;
}

static void say(const char *text)
{
    for (; *text; text++) {
        while (!(in8(COM1 + 5) & 0x20))
            ;
        out8(COM1, *text);
    }
}

/* --- network card --- */

struct received { u64 address; u16 length, checksum; u8 status, errors; u16 special; };
struct sent { u64 address; u16 length; u8 offset, command, status, start; u16 special; };

enum { RINGS = 8, BUFFER = 2048 };
static volatile struct received *const receive_ring = (void *)0x200000;
static volatile struct sent *const send_ring = (void *)0x201000;
static u8 *const receive_buffers = (void *)0x210000;
static u8 *const reply = (void *)0x220000;

enum { CTRL = 0, STATUS = 8, RCTL = 0x100, TCTL = 0x400, RDBAL = 0x2800, RDBAH = 0x2804, RDLEN = 0x2808, RDH = 0x2810,
       RDT = 0x2818, TDBAL = 0x3800, TDBAH = 0x3804, TDLEN = 0x3808, TDH = 0x3810, TDT = 0x3818,
       RAL = 0x5400, RAH = 0x5404 };

static volatile u8 *card;
static u32 get(u32 at) { return *(volatile u32 *)(card + at); }
static void set(u32 at, u32 value) { *(volatile u32 *)(card + at) = value; }

static u32 pci(u32 device, u32 at) { out32(0xcf8, 0x80000000u | device << 11 | at); return in32(0xcfc); }

static int find_card(void)
{
    for (u32 device = 0; device < 32; device++) {
        if (pci(device, 0) != 0x100e8086u)
            continue;
        u32 command = pci(device, 4);
        out32(0xcfc, command | 6); /* memory, bus master */
        card = (volatile u8 *)(pci(device, 0x10) & ~15u);
        return 1;
    }
    return 0;
}

static void start_card(void)
{
    set(CTRL, get(CTRL) | 0x40); /* link up */
    for (u32 i = 0; i < RINGS; i++) {
        receive_ring[i].address = (u32)(receive_buffers + i * BUFFER);
        receive_ring[i].status = 0;
        send_ring[i].status = 1;
    }
    set(RDBAL, (u32)receive_ring); set(RDBAH, 0); set(RDLEN, RINGS * 16); set(RDH, 0); set(RDT, RINGS - 1);
    set(TDBAL, (u32)send_ring); set(TDBAH, 0); set(TDLEN, RINGS * 16); set(TDH, 0); set(TDT, 0);
    set(RCTL, 0x04008002u | 0x18); /* enable, broadcast, promiscuous, strip CRC */
    set(TCTL, 0x0004010au);
}

static void transmit(u32 length)
{
    static u32 slot = 0;
    send_ring[slot].address = (u32)reply;
    send_ring[slot].length = length;
    send_ring[slot].command = 0x0b; /* end of packet, insert CRC, report */
    send_ring[slot].status = 0;
    u32 used = slot;
    slot = (slot + 1) % RINGS;
    set(TDT, slot);
    while (!(send_ring[used].status & 1))
        ;
}

/* --- protocols --- */

static u16 load16(const u8 *at) { return at[0] << 8 | at[1]; }
static u32 load32(const u8 *at) { return (u32)load16(at) << 16 | load16(at + 2); }
static void store16(u8 *at, u16 value) { at[0] = value >> 8; at[1] = value; }
static void store32(u8 *at, u32 value) { store16(at, value >> 16); store16(at + 2, value); }

static u32 sum(u32 total, const u8 *at, u32 length)
{
    for (u32 i = 0; i < length; i++)
        total += i & 1 ? at[i] : at[i] << 8;
    return total;
}
static u16 fold(u32 total) { while (total >> 16) total = (total & 0xffff) + (total >> 16); return ~total; }

static const u8 address[4] = {10, 0, 2, 15};
static u8 mac[6];

static void to_sender(const u8 *frame, u16 type)
{
    memcpy(reply, frame + 6, 6);
    memcpy(reply + 6, mac, 6);
    store16(reply + 12, type);
}

static void arp(const u8 *frame)
{
    if (load16(frame + 20) != 1 || load32(frame + 38) != load32(address))
        return;
    to_sender(frame, 0x0806);
    memcpy(reply + 14, frame + 14, 6);
    store16(reply + 20, 2);
    memcpy(reply + 22, mac, 6);
    memcpy(reply + 28, address, 4);
    memcpy(reply + 32, frame + 22, 10);
    transmit(60);
}

static void answer(const u8 *frame, u32 sequence, u32 acknowledged, u8 flags, const void *data, u32 length)
{
    const u8 *asked = frame + 14;
    u8 *ip = reply + 14, *tcp = reply + 34;
    u32 head = (asked[0] & 15) * 4;
    to_sender(frame, 0x0800);
    store32(ip, 0x45000000u | (40 + length));
    store32(ip + 4, 0);
    store32(ip + 8, 0x40060000u);
    memcpy(ip + 12, asked + 16, 4);
    memcpy(ip + 16, asked + 12, 4);
    store16(ip + 10, fold(sum(0, ip, 20)));
    memcpy(tcp, asked + head + 2, 2);
    memcpy(tcp + 2, asked + head, 2);
    store32(tcp + 4, sequence);
    store32(tcp + 8, acknowledged);
    store32(tcp + 12, 0x50000000u | flags << 16 | 1400);
    store32(tcp + 16, 0);
    memcpy(tcp + 20, data, length);
    store16(tcp + 16, fold(sum(sum(6 + 20 + length, ip + 12, 8), tcp, 20 + length)));
    transmit(54 + length);
}

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

static void tcp(const u8 *frame)
{
    const u8 *ip = frame + 14, *segment = ip + (ip[0] & 15) * 4, *data = segment + (segment[12] >> 4) * 4;
    u32 length = ip + load16(ip + 2) - data, theirs = load32(segment + 4), ours = load32(segment + 8);
    u8 flags = segment[13];
    if (flags & RST)
        return;
    if (flags & SYN) {
        say("connection\n");
        answer(frame, FIRST_SEQUENCE, theirs + 1, SYN | ACK, 0, 0);
    } else if (flags & FIN) {
        answer(frame, ours, theirs + length + 1, FIN | ACK, 0, 0);
    } else if (length) {
        answer(frame, ours, theirs + length, PSH | ACK, data, length);
    } else if (ours == FIRST_SEQUENCE + 1) {
        answer(frame, ours, theirs, PSH | ACK, GREETING, sizeof GREETING - 1);
    }
}

void guest(void)
{
    u32 next = 0;
    say("tiny guest\n");
    if (!find_card()) {
        say("no network card\n");
        return;
    }
    start_card();
    u32 low = get(RAL), high = get(RAH);
    memcpy(mac, &low, 4);
    memcpy(mac + 4, &high, 2);
    out8(SMI_COMMAND, ACPI_ENABLE);
    while (!(get(STATUS) & 2)) /* VirtualBox plugs the cable in late: LinkUpDelay, 5 s */
        ;
    say("ready\n");
    for (;;) {
        if (in16(POWER_STATUS) & POWER_BUTTON) {
            say("power button\n");
            out16(POWER_CONTROL, POWER_OFF);
        }
        if (!(receive_ring[next].status & 1))
            continue;
        const u8 *frame = receive_buffers + next * BUFFER;
        if (load16(frame + 12) == 0x0806)
            arp(frame);
        else if (load16(frame + 12) == 0x0800 && frame[14 + 9] == 6)
            tcp(frame);
        receive_ring[next].status = 0;
        set(RDT, next);
        next = (next + 1) % RINGS;
    }
}
